"""Class folders: classes, groups, depths, and what is left out."""

import logging
import os
import tarfile
import zipfile

import numpy as np
import pytest

from onelook.data.archives import address_exists
from onelook.data.reading import read_bytes
from onelook.data.sources.class_folders import class_folder
from onelook.errors import DataError
from onelook.gallery.folders import images_of_identities


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_folders_are_classes(tmp_path, caplog):
    touch(tmp_path, "dog/1.png", "cat/2.JPG", "cat/1.jpeg", "cat/.hidden.png")
    data = class_folder(tmp_path)
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0, 0, 1]
    assert data.paths == tuple(
        f"{tmp_path}/{n}" for n in ("cat/1.jpeg", "cat/2.JPG", "dog/1.png")
    )
    assert data.groups is None and data.name == tmp_path.name
    assert caplog.text == ""


def test_folders_above_the_class_are_groups(tmp_path):
    touch(tmp_path, "Greek/alpha/1.png", "Greek/beta/1.png", "Latin/alpha/1.png")
    data = class_folder(tmp_path, depth=1, name="letters")
    assert data.class_names == ("Greek/alpha", "Greek/beta", "Latin/alpha")
    assert data.group_names == ("Greek", "Latin") and data.groups.tolist() == [0, 0, 1]
    assert data.name == "letters"


def test_a_zip_is_read_like_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("pets/cat/1.png", "pets/dog/1.png", "__MACOSX/pets/cat/._1.png"):
            archive.writestr(name, "")
    data = class_folder(f"{tmp_path}/pets.zip!/pets")
    assert data.class_names == ("cat", "dog") and data.name == "pets"
    assert data.paths[0] == f"{tmp_path}/pets.zip!/pets/cat/1.png"
    assert class_folder(tmp_path / "pets.zip", depth=1).group_names == ("pets",)


@pytest.mark.parametrize(
    ("names", "depth", "message"),
    [
        (
            ["Greek/alpha/1.png", "Greek/beta/1.png"],
            0,
            "no images in .* at depth 0, which looks for CLASS/IMAGE; 2 lie as "
            "'Greek/alpha/1.png': if 'alpha' is a class there, pass --depth 1",
        ),
        (["cat/1.png"], 1, "looks for GROUP/CLASS/IMAGE; 1 lie .* pass --depth 0"),
        (["1.png", "2.png"], 0, "'1.png': put the images into one folder per class"),
        (
            ["cat/notes.txt"],
            0,
            r"no images in .* \(1 other files\); put them into one folder",
        ),
        ([], 0, "no images in"),
    ],
)
def test_the_wrong_depth_is_refused_and_the_right_one_named(
    tmp_path, names, depth, message
):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        class_folder(tmp_path, depth)


def test_what_is_left_out_is_counted(tmp_path, caplog):
    touch(
        tmp_path, "cat/1.png", "cat/Thumbs.db", "readme", "0.png", "a/b/1.png", "a/c/1.png"
    )
    with caplog.at_level(logging.WARNING):
        assert len(class_folder(tmp_path)) == 1
    assert "2 images lie deeper than --depth 0 and are left out" in caplog.text
    assert "pass --depth 1" in caplog.text
    assert "1 images lie in no class folder" in caplog.text
    assert "1 file that is not an image is left out (no suffix: 1)" in caplog.text


def test_folders_without_an_image_are_named_and_files_of_systems_are_not(tmp_path, caplog):
    junk = ["cat/Thumbs.db", "desktop.ini", "@eaDir/cat/1.png/x.jpg", "cat/.DS_Store"]
    touch(tmp_path, "cat/1.png", *junk)
    assert len(class_folder(tmp_path)) == 1 and caplog.text == ""
    touch(tmp_path, "dog/7f3a91c2")
    class_folder(tmp_path)
    assert "(no suffix: 1); nothing is read from dog" in caplog.text


@pytest.mark.parametrize(
    "below", ["train/{}/1.png test/{}/2.png", "{}/train/1.png {}/Val/2.png"]
)
def test_a_class_of_several_parts_is_one_class(tmp_path, caplog, below):
    touch(tmp_path, *(name for who in "abcd" for name in below.format(who, who).split()))
    touch(tmp_path, "train/e/1.png")
    data = class_folder(tmp_path)
    assert data.class_names == ("a", "b", "c", "d", "e") and data.groups is None
    assert np.bincount(data.labels).tolist() == [2, 2, 2, 2, 1]
    assert set(data.splits) >= {"train"} and len(set(data.splits)) == 2
    assert "4 class names lie under" in caplog.text and "(a, b, c, …)" in caplog.text
    with pytest.raises(DataError, match="--depth 1 would make several classes of each"):
        class_folder(tmp_path, depth=1)


def test_parts_that_share_no_class_are_groups(tmp_path, caplog):
    touch(tmp_path, "train/a/1.png", "test/b/1.png")
    assert class_folder(tmp_path, depth=1).class_names == ("test/b", "train/a")
    assert caplog.text == ""


@pytest.mark.parametrize("kind", ["folder", "zip", "backslashes", "wrapped", "tar"])
def test_folder_zip_and_tar_give_the_same_classes(tmp_path, kind):
    folder = touch(tmp_path / "pets", "cat/1.png", "cat/2.png", "dog/1.png", "about.txt")
    place = folder
    if kind == "tar":
        place = tmp_path / "pets.tgz"
        with tarfile.open(place, "w:gz") as archive:
            archive.add(folder, "pets")
    elif kind != "folder":
        place = tmp_path / "pets.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                name = str(file.relative_to(tmp_path if kind == "wrapped" else folder))
                info = zipfile.ZipInfo(name)
                if kind == "backslashes":
                    info.filename = name.replace("/", "\\")
                archive.writestr(info, name)
    data = class_folder(place)
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0, 0, 1]
    assert all(map(address_exists, data.paths))
    assert [who for who, _ in images_of_identities(place)] == ["cat", "cat", "dog"]
    if kind == "backslashes":
        assert read_bytes(data.paths[2]) == b"dog/1.png"


def test_a_class_whose_name_is_not_utf8_is_shown_escaped(tmp_path):
    touch(tmp_path, os.fsdecode(b"Ren\xe9/1.png"), "Zoé/1.png")
    data = class_folder(tmp_path)
    assert data.class_names == ("Ren\\udce9", "Zoé") and all(
        map(os.path.isfile, data.paths)
    )


def test_a_zip_of_one_class_keeps_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("cat/1.png", "")
    assert class_folder(tmp_path / "x.zip").class_names == ("cat",)


def test_a_negative_depth_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="depth must be 0 or more, got -1"):
        class_folder(tmp_path, -1)
    with pytest.raises(DataError, match="gone does not exist"):
        class_folder(tmp_path / "gone")


@pytest.mark.data
def test_alphabets_taken_for_classes_are_noticed_on_real_data(data_root):
    archive = f"{data_root}/omniglot/images_background.zip!/images_background"
    with pytest.raises(
        DataError, match="if 'character01' is a class there, pass --depth 1"
    ):
        class_folder(archive)
    data = class_folder(archive, depth=1)
    assert data.n_classes == 964 and len(data.group_names) == 30
