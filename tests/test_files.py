"""Files that are there whole or not at all."""

import os
import stat
import tarfile

import numpy as np
import pytest
from PIL import Image

from onelook.data.archives import open_tree
from onelook.data.inputs import ImageInput
from onelook.data.inputs.stores import PixelStore
from onelook.data.sources import find
from onelook.data.sources.digits import digits
from onelook.data.sources.pair_files import read_pairs
from onelook.errors import DataError, OnelookError
from onelook.files import cache_folder, whole_file, write_whole
from onelook.model_folder import read_file, read_settings
from onelook.recipe import ImageSettings, read_recipe
from onelook.report.inputs import ReportInputs
from onelook.report.page import write_report
from onelook.service.tokens import read_tokens
from onelook.training.state import load_state
from onelook.vectors import Vectors, read_vectors, write_vectors


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


def test_without_a_home_the_cache_is_asked_for_and_named_places_need_none(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(os.path, "expanduser", str)  # as where a user has no home
    monkeypatch.delenv("ONELOOK_CACHE", raising=False)
    with pytest.raises(DataError, match="no home folder .*; set ONELOOK_CACHE to a folder"):
        cache_folder()
    (tmp_path / "SICK_train.txt").touch()
    monkeypatch.setenv("ONELOOK_DATA", str(tmp_path))
    assert find("sick") == tmp_path
    with pytest.raises(DataError, match="none does not exist; .* ONELOOK_DATA names"):
        find("sick", "none")
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "file"))
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    for opened in (lambda: open_tree(tmp_path / "a.tar"), digits):
        with pytest.raises(DataError, match="cannot write to .*file.*; .* ONELOOK_CACHE"):
            opened()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("v.npz", "v.parquet", "model.json", "last.pt", "tokens.json", "pairs.txt"):
        os.mkfifo(tmp_path / name)
    for read in (
        lambda: read_vectors(tmp_path / "v.npz"),
        lambda: read_vectors(tmp_path / "v.parquet"),
        lambda: read_settings(tmp_path),
        lambda: read_file(tmp_path / "last.pt", ""),
        lambda: load_state(tmp_path / "last.pt"),
        lambda: read_tokens(tmp_path / "tokens.json"),
        lambda: read_pairs(tmp_path / "pairs.txt", same=1),
        lambda: read_recipe(tmp_path / "pairs.txt"),
    ):
        with pytest.raises(OnelookError, match="is a pipe or a device|not a file"):
            read()


PRIVATELY = pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@PRIVATELY
@pytest.mark.parametrize("name", ["faces.npz", "faces.parquet"])
def test_vectors_of_people_are_for_their_owner_alone(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    content = Vectors(["ann.png"], np.ones((1, 4), np.float32), [], "fingerprint")
    assert mode(write_vectors(tmp_path / name, content)) == 0o600


@PRIVATELY
def test_reports_and_prepared_pictures_are_for_their_owner_alone(tmp_path):
    pytest.importorskip("matplotlib")
    assert mode(write_report(ReportInputs("faces"), tmp_path / "r.html")) == 0o600
    Image.new("L", (9, 9)).save(tmp_path / "ann.png")
    taken = ImageInput(ImageSettings(height=8, width=8, channels=1))
    paths, cache = [f"{tmp_path}/ann.png"], tmp_path / "cache"
    PixelStore.prepare(paths, taken, cache=cache, progress=False)
    assert mode(cache / "pixels") == 0o700
