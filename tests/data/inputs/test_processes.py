"""Images prepared in other processes: the same pixels, the same complaints, no orphans."""

import os
import signal
from collections import deque

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onelook.data.inputs import images
from onelook.data.inputs.images import Preprocess
from onelook.data.inputs.processes import Helper, load_in_processes
from onelook.errors import DataError
from onelook.recipe import ImageSettings, InkSettings

SETTINGS = ImageSettings(height=24, width=24, invert=True, ink=InkSettings())


@pytest.fixture
def drawings(tmp_path):
    paths = []
    for i in range(9):
        image = Image.new("L", (60, 60), 255)
        ImageDraw.Draw(image).line([(5, 5 + 4 * i), (50, 40)], fill=0, width=4)
        path = tmp_path / f"{i}.png"
        image.save(path)
        paths.append(str(path))
    (tmp_path / "4.png").write_bytes(b"no image")
    return paths


def in_parts(paths, size=2):
    return deque(paths[i : i + size] for i in range(0, len(paths), size))


def test_processes_give_what_one_thread_gives(drawings):
    preprocess = Preprocess(SETTINGS)
    here = list(preprocess.load_chunks(drawings, workers=1))
    there = list(load_in_processes(preprocess, in_parts(drawings), 2))
    assert len(there) == 5
    pixels = np.concatenate([chunk.pixels for chunk in there])
    np.testing.assert_array_equal(pixels, np.concatenate([chunk.pixels for chunk in here]))
    bad = [entry for chunk in there for entry in chunk.bad]
    assert bad == [entry for chunk in here for entry in chunk.bad] and len(bad) == 1


def test_many_drawings_are_prepared_by_processes(drawings, monkeypatch):
    monkeypatch.setattr(images, "CHUNK", 2)
    monkeypatch.setattr(images, "PARTS_WORTH_A_PROCESS", 3)
    used = []

    def spy(preprocess, parts, n_processes):
        used.append(n_processes)
        return load_in_processes(preprocess, parts, n_processes)

    monkeypatch.setattr(images, "load_in_processes", spy)
    chunks = list(Preprocess(SETTINGS).load_chunks(drawings, workers=2))
    assert used == [2] and sum(len(chunk.pixels) for chunk in chunks) == 8


def test_a_process_that_dies_is_named(drawings):
    helper = Helper(Preprocess(SETTINGS))
    assert len(helper.load(drawings[:2]).pixels) == 2
    os.kill(helper._process.pid, signal.SIGKILL)
    with pytest.raises(DataError, match=r"ended with code -9 at .*0.png or one of the 1"):
        helper.load(drawings[:2])
    helper.close()


def test_whoever_stops_early_leaves_no_process_behind(drawings, monkeypatch):
    made = []

    class Watched(Helper):
        def __init__(self, preprocess):
            super().__init__(preprocess)
            made.append(self)

    monkeypatch.setattr("onelook.data.inputs.processes.Helper", Watched)
    chunks = load_in_processes(Preprocess(SETTINGS), in_parts(drawings), 2)
    next(chunks)
    chunks.close()
    assert [helper._process.returncode for helper in made] == [0, 0]
