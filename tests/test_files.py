"""Files that are there whole or not at all."""

import pytest

from onelook.files import whole_file, write_whole


def test_a_text_is_written_whole_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "a.txt"
    assert write_whole(path, "ä\n").read_bytes() == "ä\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_after_an_error_the_older_file_stays_and_nothing_else(tmp_path):
    path = write_whole(tmp_path / "a.bin", b"old")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
