"""Pen strokes beside the drawings that they made."""

import re
import zipfile

import pytest

from onelook.data.sources.omniglot import SMALL1, SMALL2
from onelook.data.sources.strokes import strokes
from onelook.errors import DataError


def write_zip(folder, part, alphabets, suffix):
    """Two characters of each alphabet by three drawers."""
    with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
        for a, alphabet in enumerate(alphabets):
            for c in (1, 2):
                for d in (1, 2, 3):
                    name = f"character{c:02d}/{a}{c:03d}_{d:02d}.{suffix}"
                    archive.writestr(f"{part}/{alphabet}/{name}", "x")


def test_an_alphabet_in_both_stroke_archives_is_taken_once(tmp_path):
    write_zip(tmp_path, "images_background", ["A", "B"], "png")
    for part, alphabets in (("small1", ["A"]), ("small2", ["A", "B"])):
        write_zip(tmp_path, f"strokes_background_{part}", alphabets, "txt")
    data = strokes(tmp_path)
    assert len(data) == len(data.right_paths) == 12
    for pen, image in zip(data.right_paths, data.paths, strict=True):
        assert re.split("[/.]", pen)[-4:-1] == re.split("[/.]", image)[-4:-1]
    assert "small1" in data.right_paths[0] and "small2" in data.right_paths[-1]
    fold = strokes(tmp_path, "not-fold1")
    assert fold.group_names == ("B",) and "small2" in fold.right_paths[0]
    assert strokes(tmp_path, "fold1").group_names == ("A",)
    with pytest.raises(ValueError, match="unknown part 'fold5' of strokes; known: all"):
        strokes(tmp_path, "fold5")
    write_zip(tmp_path, "images_background", ["A"], "png")
    with pytest.raises(DataError, match=r"has no drawing .*\(6 of 12 have none\)"):
        strokes(tmp_path)


def test_missing_strokes_are_named(tmp_path):
    with pytest.raises(DataError, match="no strokes_background_small1.zip"):
        strokes(tmp_path)


@pytest.mark.data
def test_the_real_strokes_are_eight_alphabets(data_root):
    data = strokes(data_root)
    assert len(data) == len(data.right_paths) == 4_840 and data.n_classes == 242
    assert set(data.group_names) == {*SMALL1, *SMALL2}
