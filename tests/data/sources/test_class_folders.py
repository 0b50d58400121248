"""Class folders: classes, groups, depths, and what is left out."""

import logging
import zipfile

import pytest

from onelook.data.sources.class_folders import class_folder
from onelook.errors import DataError


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
    assert (
        "2 files that are not images are left out" in caplog.text
        and ".db: 1" in caplog.text
    )


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
