"""Servers that are gone or say nothing, outputs that take nothing, and child processes."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image, ImageDraw

import onelook
from onelook.errors import GalleryError
from onelook.gallery import postgres_connections
from onelook.gallery.stores import store_exists


@contextmanager
def silent():
    """The port of a server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(9)
        yield server.getsockname()[1]


def test_a_silent_postgresql_is_given_up(monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setitem(postgres_connections.PATIENCE, "connect_timeout", 2)
    begun = time.monotonic()
    with silent() as port, pytest.raises(GalleryError, match="timeout expired") as refusal:
        store_exists(f"postgresql://me:secret@127.0.0.1:{port}/db")
    assert time.monotonic() - begun < 15
    assert "does the server run" in str(refusal.value) and "secret" not in str(
        refusal.value
    )


@pytest.mark.slow
def test_a_silent_milvus_is_given_up():
    pytest.importorskip("pymilvus")
    begun = time.monotonic()
    with silent() as port, pytest.raises(GalleryError, match="does the server run"):
        store_exists(f"milvus://127.0.0.1:{port}/db")
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("kind", ["postgresql", "milvus"])
def test_a_server_that_is_gone_is_said_at_once(kind):
    pytest.importorskip({"postgresql": "psycopg", "milvus": "pymilvus"}[kind])
    begun = time.monotonic()
    with pytest.raises(GalleryError, match="does the server run"):
        store_exists(f"{kind}://127.0.0.1:1/db")
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_an_output_that_takes_nothing_ends_in_a_line():
    command = [sys.executable, "-m", "onelook", "models"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_leaves_ends_in_silence():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        command = [sys.executable, "-m", "onelook", "models"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def embedded(path: str) -> np.ndarray:
    return onelook.load("omniglot").embed([path])


def test_a_child_that_is_spawned_answers_the_same(tmp_path):
    path = str(tmp_path / "a.png")
    image = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(image).line([10, 10, 60, 20, 30, 70], fill=0, width=4)
    image.save(path)
    expected = embedded(path)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(embedded, (path,)), expected)
