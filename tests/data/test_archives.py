"""Folders and archives with one face."""

import io
import os
import tarfile
import zipfile

import pytest

from onelook.data.archives import address_exists, open_tree
from onelook.data.reading import read_bytes, split_address
from onelook.errors import DataError

NAMES = ["a/1.png", "a/2.png", "b c/ü.png", "top.txt"]
JUNK = ["a/.DS_Store", "__MACOSX/a/._1.png", ".git/config", "a/.hidden/3.png"]


def make_folder(folder):
    for name in NAMES + JUNK:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def make_zip(path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES + JUNK:
            archive.writestr(prefix + name, name)
        archive.mkdir(prefix + "empty")
    return path


def make_tar(path):
    with tarfile.open(path, "w:gz") as archive:
        for name in NAMES + JUNK:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            archive.addfile(info, io.BytesIO(name.encode()))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "zip folder", "tgz"])
def test_every_kind_lists_the_same_visible_files(tmp_path, kind):
    root = {
        "folder": lambda: make_folder(tmp_path / "f"),
        "zip": lambda: make_zip(tmp_path / "f.zip"),
        "zip folder": lambda: f"{make_zip(tmp_path / 'f.zip', 'in/')}!/in/",
        "tgz": lambda: make_tar(tmp_path / "f.tgz"),
    }[kind]()
    tree = open_tree(root)
    assert list(tree.names) == NAMES
    for name in NAMES:
        assert read_bytes(tree.address(name)).decode() == name
        assert address_exists(tree.address(name))
    assert not address_exists(tree.address("a/9.png"))


def test_a_tar_is_unpacked_once_and_anew_when_it_changes(tmp_path):
    path = make_tar(tmp_path / "f.tar.gz")
    first = open_tree(path)
    assert open_tree(path).base == first.base
    os.utime(path, (1, 1))
    assert open_tree(path).base != first.base


def test_a_cut_tar_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    path = make_tar(tmp_path / "f.tgz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot unpack .*f.tgz"):
        open_tree(path)
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_a_tar_cannot_write_outside_its_folder(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../evil.txt"), io.BytesIO())
    with pytest.raises(DataError, match="cannot unpack"):
        open_tree(tmp_path / "evil.tar")


def test_links_are_followed_but_not_for_ever(tmp_path, caplog):
    make_folder(tmp_path / "f")
    (tmp_path / "f" / "loop").symlink_to(tmp_path / "f")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "linked").symlink_to(tmp_path / "f" / "a")
    assert list(open_tree(tmp_path / "f").names) == NAMES
    assert "loop is a link to a folder that is read already: left out" in caplog.text
    assert open_tree(tmp_path / "g").names == ("linked/1.png", "linked/2.png")


def test_what_is_no_tree_is_said_to_be_none(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "x.zip").write_text("x")
    make_zip(tmp_path / "y.zip")
    for path, message in (
        ("none", "none does not exist; give a folder or an archive"),
        ("x.txt", "x.txt is neither a folder nor a .zip, .tgz or .tar archive"),
        ("x.zip", r"x.zip: not a readable zip archive \(File is not a zip file\)"),
        ("y.zip!/nowhere", "y.zip has no folder 'nowhere'"),
        ("z.zip!/a", "z.zip: no such archive"),
    ):
        with pytest.raises(DataError, match=message):
            open_tree(f"{tmp_path}/{path}")
    assert not address_exists(f"{tmp_path}/z.zip!/a")


def test_an_address_splits_at_its_archive_only():
    assert split_address("/d!/x.ZIP!/m!/n") == ("/d!/x.ZIP", "m!/n")
    assert split_address("/d!/n.png") == ("", "/d!/n.png")
