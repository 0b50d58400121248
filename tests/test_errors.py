"""Errors: one line for each part, whatever the names in them hold."""

import pickle

import pytest

from onelook.data.inputs.decoding import decode
from onelook.errors import DataError, GalleryError


def test_a_line_break_in_a_file_name_does_not_break_the_message(tmp_path):
    path = tmp_path / "a\nb\x1b[31m\u2028.png"
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match="unreadable|cannot be read|not an image") as raised:
        decode(path)
    assert "a\\nb\\x1b[31m\\u2028.png" in str(raised.value)
    assert str(raised.value).isprintable()


def test_each_argument_is_a_line_and_the_error_crosses_processes():
    error = DataError("2 of 9 images:", "  a\nb.png: no image", "repair them")
    assert str(error).splitlines() == [
        "2 of 9 images:",
        "  a\\nb.png: no image",
        "repair them",
    ]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(GalleryError()) == ""
