"""Images prepared in other processes: the same pixels, the same complaints, no orphans."""

import os
import signal

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onelook.data.inputs import ImageInput, images
from onelook.data.inputs.processes import Helper, in_processes
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
    named = [(path, path) for path in paths]
    return [named[i : i + size] for i in range(0, len(paths), size)]


def test_processes_give_what_one_thread_gives(drawings):
    preprocess = ImageInput(SETTINGS)
    here = list(preprocess.load_chunks(drawings, workers=1))
    there = list(in_processes(preprocess._load_part, in_parts(drawings), 2))
    assert len(there) == 5
    pixels = np.concatenate([chunk.pixels for chunk in there])
    np.testing.assert_array_equal(pixels, np.concatenate([chunk.pixels for chunk in here]))
    bad = [entry for chunk in there for entry in chunk.bad]
    assert bad == [entry for chunk in here for entry in chunk.bad] and len(bad) == 1


def test_many_drawings_are_prepared_by_processes(drawings, monkeypatch):
    monkeypatch.setattr(images, "CHUNK", 2)
    monkeypatch.setattr(images, "PARTS_WORTH_A_PROCESS", 3)
    used = []

    def spy(work, parts, n_processes):
        used.append(n_processes)
        return in_processes(work, parts, n_processes)

    monkeypatch.setattr(images, "in_processes", spy)
    chunks = list(ImageInput(SETTINGS).load_chunks(drawings, workers=2))
    assert used == [2] and sum(len(chunk.pixels) for chunk in chunks) == 8


def test_a_process_that_dies_is_named(drawings):
    helper = Helper(ImageInput(SETTINGS)._load_part)
    assert len(helper.ask(in_parts(drawings)[0]).pixels) == 2
    os.kill(helper._process.pid, signal.SIGKILL)
    with pytest.raises(DataError, match=r"ended with code -9 at .*0.png or one of the 1"):
        helper.ask(in_parts(drawings)[0])
    helper.close()


def test_whoever_stops_early_leaves_no_process_behind(drawings, monkeypatch):
    made = []

    class Watched(Helper):
        def __init__(self, work):
            super().__init__(work)
            made.append(self)

    monkeypatch.setattr("onelook.data.inputs.processes.Helper", Watched)
    chunks = in_processes(ImageInput(SETTINGS)._load_part, in_parts(drawings), 2)
    next(chunks)
    chunks.close()
    assert [helper._process.returncode for helper in made] == [0, 0]


def test_a_process_imports_nothing_from_the_current_folder(drawings, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("open('executed', 'w')")
    monkeypatch.chdir(tmp_path)
    for path in ("", str(tmp_path), "."):
        monkeypatch.syspath_prepend(path)
    helper = Helper(ImageInput(SETTINGS)._load_part)
    assert len(helper.ask(in_parts(drawings)[0]).pixels) == 2
    helper.close()
    assert not (tmp_path / "executed").exists()
