"""Vectors of many files beside their paths, against embedding each file on its own."""

import os
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from onelook import vectors
from onelook.errors import DataError, OnelookError
from onelook.vectors import Vectors, embed_files, read_vectors, write_vectors
from onelook.verifier import from_function


def corner(images):
    return np.array([[image.convert("L").getpixel((0, 0)), 1.0] for image in images])


@pytest.fixture
def verifier():
    return from_function(corner, "euclidean", "corner")


@pytest.fixture
def folder(tmp_path):
    """0.png … 9.png, whose grey is ten times their number."""
    root = tmp_path / "images"
    root.mkdir()
    for i in range(10):
        Image.new("L", (4, 4), 10 * i).save(root / f"{i}.png")
    return root


def test_vectors_stand_beside_their_paths(verifier, folder):
    files = [folder / f"{i}.png" for i in (3, 1, 3)]
    content = embed_files(verifier, files, progress=False)
    assert content.paths == tuple(map(str, files))
    assert content.vectors[:, 0].tolist() == [30, 10, 30]


def test_a_folder_an_archive_and_a_folder_in_it_are_searched(verifier, folder, tmp_path):
    (folder / "notes.txt").write_text("no image")
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "7.png", "a/7.png")
        file.write(folder / "8.png", "b/8.png")
    sources = [folder, archive, f"{archive}!/b", f"{archive}!/a/7.png"]
    content = embed_files(verifier, sources, progress=False)
    greys = [10 * i for i in range(10)] + [70, 80, 80, 70]
    assert content.vectors[:, 0].tolist() == greys
    assert content.paths[-2:] == (f"{archive}!/b/8.png", f"{archive}!/a/7.png")


def test_a_name_that_is_not_utf8_is_refused_before_the_work(verifier, folder, tmp_path):
    name = os.fsdecode(b"Ren\xe9.png")
    (folder / "3.png").rename(folder / name)
    verifier.embed = None  # no work is done
    with pytest.raises(DataError, match=r"\.png: its name is not UTF-8; rename it"):
        embed_files(verifier, [folder], progress=False)
    del verifier.embed
    content = embed_files(verifier, [folder], skip_bad=True, progress=False)
    assert len(content.paths) == 9 and content.bad[0][0].endswith(name)
    for out in ("v.npz", "v.parquet"):
        assert len(read_vectors(write_vectors(tmp_path / out, content)).paths) == 9


def test_bad_files_are_left_out_in_any_block(verifier, folder, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", 3)
    for i in (0, 4, 9):
        (folder / f"{i}.png").write_bytes(b"broken")
    content = embed_files(verifier, [folder], skip_bad=True, progress=False)
    assert content.vectors[:, 0].tolist() == [10, 20, 30, 50, 60, 70, 80]
    assert [path for path, _ in content.bad] == [
        str(folder / f"{i}.png") for i in (0, 4, 9)
    ]
    with pytest.raises(DataError, match="3 of 10 files cannot be used"):
        embed_files(verifier, [folder], progress=False)


def test_nothing_readable_is_an_error_even_when_skipping(verifier, tmp_path):
    with pytest.raises(DataError, match="none.png: no such file"):
        embed_files(verifier, [tmp_path / "none.png"], skip_bad=True, progress=False)


def test_a_folder_without_images_is_an_error(verifier, tmp_path):
    with pytest.raises(DataError, match="holds no files that end in"):
        embed_files(verifier, [tmp_path], progress=False)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "vectors.npz"
    old = Vectors(("a",), np.ones((1, 2), np.float32), [])
    write_vectors(file, old)

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        write_vectors(file, Vectors(("b",), np.zeros((1, 2), np.float32), []))
    with np.load(file) as content:
        assert content["paths"].tolist() == ["a"]
    assert list(tmp_path.iterdir()) == [file]


def test_parquet_without_pyarrow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OnelookError, match=r"pip install 'onelook\[parquet\]'"):
        vectors.check_ending("vectors.parquet")


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_what_is_written_is_read_again(verifier, folder, tmp_path, ending):
    content = embed_files(verifier, [folder], progress=False)
    again = read_vectors(write_vectors(tmp_path / f"v{ending}", content))
    assert again.paths == content.paths
    assert again.fingerprint == verifier.fingerprint
    np.testing.assert_array_equal(again.vectors, content.vectors)


def test_a_file_that_holds_no_vectors_is_named(tmp_path):
    (tmp_path / "v.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="v.npz cannot be read as embeddings"):
        read_vectors(tmp_path / "v.npz")
    np.savez(tmp_path / "w.npz", paths=np.array(["a"]))
    with pytest.raises(DataError, match="vectors is not a file in the archive"):
        read_vectors(tmp_path / "w.npz")
