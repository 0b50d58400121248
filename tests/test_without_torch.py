"""Answering where PyTorch and all else that trains is not installed."""

import json
import subprocess
import sys

import pytest

from onelook.zoo import FOLDER

SCRIPT = """
import sys
for package in ("torch", "onnx", "matplotlib", "jinja2", "sklearn", "scipy"):
    sys.modules[package] = None  # importing it raises
from onelook.cli import main
try:
    main(sys.argv[1:])
finally:
    assert not any(sys.modules.get(name) for name in ("torch", "onnx", "scipy"))
"""


def onelook(*words, ok=True):
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode == 0) is ok, done.stderr
    return done.stdout if ok else done.stderr


@pytest.fixture(scope="module")
def three(shapes_folder):
    folders = ("shape00/0.png", "shape00/1.png", "shape05/0.png")
    return [shapes_folder / name for name in folders]


def test_compare(three):
    assert onelook("compare", *three[:2]).startswith(("same", "unsure", "different"))


def test_explain(three, tmp_path):
    onelook("explain", *three[:2], "-o", tmp_path / "why.png")
    assert (tmp_path / "why.png").stat().st_size > 0


def test_find(three):
    assert json.loads(onelook("find", *three[:2], "--json"))


def test_embed(three, tmp_path):
    onelook("embed", *three, "-o", tmp_path / "vectors.npz")


def test_enroll_and_identify(three, tmp_path):
    gallery = tmp_path / "gallery.db"
    onelook("enroll", three[0], "-g", gallery)
    assert json.loads(onelook("identify", three[0], "-g", gallery, "--json"))


SERVE = """
from fastapi.testclient import TestClient
import onelook
from onelook.service.app import create_app
from onelook.service.server import limit_threads
limit_threads()
model = onelook.load("omniglot")
gallery = onelook.Gallery(model, sys.argv[1])
with TestClient(create_app(model, gallery), base_url="http://localhost") as client:
    files = {side: open(sys.argv[2], "rb") for side in ("left", "right")}
    assert client.post("/v1/compare", files=files).json()["verdict"] == "same"
"""


def test_serve(three, tmp_path):
    block = SCRIPT.partition("from onelook.cli")[0]
    command = [sys.executable, "-c", block + SERVE, tmp_path / "gallery.db", three[0]]
    subprocess.run(command, check=True)


def test_evaluate(shapes_folder):
    words = ("evaluate", "omniglot", "--protocol", "folder-one-shot")
    assert "accuracy" in onelook(*words, "--data", shapes_folder)


def test_calibrate(shapes_folder, tmp_path):
    out = tmp_path / "calibrated"
    onelook("calibrate", "omniglot", "--data", shapes_folder, "--out", out)
    assert (out / "model.onnx").read_bytes() == (
        FOLDER / "omniglot" / "model.onnx"
    ).read_bytes()
    assert onelook("compare", *[shapes_folder / "shape00" / "0.png"] * 2, "-m", out)


@pytest.mark.parametrize("command", [["train", "digits"], ["demo"], ["export", "faces"]])
def test_what_needs_pytorch_names_the_extra(command):
    message = onelook(*command, ok=False)
    assert f"onelook {command[0]} needs torch" in message
    assert "pip install 'onelook[train]'" in message
