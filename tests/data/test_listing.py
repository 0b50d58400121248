"""Items of tars and Parquet tables: their names, and the bytes behind them."""

import io
import tarfile

import pytest
from PIL import Image

from onelook.data.listing import Row, list_items, read_item
from onelook.errors import DataError

PNG = frozenset([".png"])


def picture(grey):
    file = io.BytesIO()
    Image.new("L", (4, 4), grey).save(file, "PNG")
    return file.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def test_files_are_listed_once_each(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(1))
    one = str(tmp_path / "a.png")
    assert list_items([one, str(tmp_path), one], PNG) == [(one, one)]


def test_members_of_a_tar_are_read_in_place(tmp_path):
    tar = tmp_path / "some.tar"
    members = {"./Ada/1.png": picture(1), "notes.txt": b"no", ".hidden.png": b"no"}
    write_tar(tar, members | {"Bob/2.png": picture(2)})
    listed = list_items([str(tar)], PNG)
    assert [name for name, _ in listed] == [f"{tar}!/Ada/1.png", f"{tar}!/Bob/2.png"]
    assert [read_item(place) for _, place in listed] == [picture(1), picture(2)]


def test_a_class_of_webdataset_becomes_a_folder(tmp_path):
    tar = tmp_path / "some.tar"
    write_tar(tar, {"07.png": picture(1), "07.cls": b"3\n", "08.seg.png": picture(2)})
    names = [name for name, _ in list_items([str(tar)], PNG)]
    assert names == [f"{tar}!/3/07.png", f"{tar}!/08.seg.png"]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({}, ["0", "1", "2"]),
        ({"label": [4, 4, 5]}, ["4/0", "4/1", "5/2"]),
        ({"label": [4, 4, 5], "path": ["a/x", "a/y", "b/x"]}, ["a/x", "a/y", "b/x"]),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_rows_of_a_table_are_named_and_read(tmp_path, columns, names, nested):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "t.parquet"
    pictures = [picture(i) for i in range(3)]
    images = [{"bytes": one, "path": None} for one in pictures] if nested else pictures
    parquet.write_table(pyarrow.table({**columns, "image": images}), file, row_group_size=2)
    listed = list_items([str(file)], PNG)
    assert [name for name, _ in listed] == [f"{file}!/{name}" for name in names]
    assert [read_item(place) for _, place in listed] == pictures
    assert listed[2][1] == Row(str(file), "image", 2)


def test_tables_that_cannot_be_used_are_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"n": [1]}), file)
    with pytest.raises(DataError, match="has no column of images"):
        list_items([str(file)], PNG)
    table = pyarrow.table({"path": ["a", "b", "a"], "image": [b"", b"", None]})
    parquet.write_table(table, file)
    with pytest.raises(DataError, match="rows 0 and 2 have one path: a"):
        list_items([str(file)], PNG)
    with pytest.raises(DataError, match="its column image is empty"):
        Row(str(file), "image", 2).read()
    file.write_bytes(b"no table")
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
        list_items([str(file)], PNG)


def test_tars_that_cannot_be_used_are_named(tmp_path):
    tar = tmp_path / "some.tar"
    with pytest.raises(DataError, match="cannot be read as a tar"):
        list_items([str(tar)], PNG)
    tar.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match="cannot be read as a tar"):
        list_items([str(tar)], PNG)
    write_tar(tar, {"a.txt": b"x"})
    with pytest.raises(DataError, match=r"holds no files that end in \.png"):
        list_items([str(tar)], PNG)
