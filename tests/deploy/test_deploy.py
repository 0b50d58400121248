"""Exports to other runtimes: each repeats its parity file, and says where it does not."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onelook.data.inputs import ImageInput
from onelook.deploy import check_export, write_export
from onelook.deploy.parity import drawn, pixels_of
from onelook.errors import CheckpointError, DataError, MissingExtraError
from onelook.loading import load
from onelook.models.network import build_model
from onelook.recipe import ImageSettings
from onelook.verifier import from_model

NODE_EXAMPLE = Path(__file__).parents[2] / "examples" / "node"


@pytest.fixture(scope="module")
def headed():
    """A small network with a learned head, its weights random."""
    torch.manual_seed(0)
    encoder = {"name": "compact", "arguments": {"input_shape": [1, 32, 32]}}
    network = {"encoder": encoder, "similarity": {"name": "weighted-l1"}}
    images = ImageInput(ImageSettings(height=32, width=32))
    return from_model(build_model(network), images, network=network)


def pictures(folder: Path, n: int) -> list[str]:
    for seed in range(n):
        drawn(seed).save(folder / f"{seed}.png")
    return sorted(map(str, folder.glob("*.png")))


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_an_export_repeats_its_parity_file(headed, target, tmp_path):
    write_export(headed, target, tmp_path)
    found = check_export(tmp_path)
    assert found["largest_difference"] < 1e-5 and found["head"] < 1e-5
    assert (found["pixels"], found["images"]) == (0, 20)


def test_openvino_repeats_its_parity_file_or_names_the_extra(headed, tmp_path):
    if importlib.util.find_spec("openvino") is None:
        with pytest.raises(MissingExtraError, match=r"onelook\[openvino\]"):
            write_export(headed, "openvino", tmp_path)
        return
    write_export(headed, "openvino", tmp_path)
    found = check_export(tmp_path)
    assert found["largest_difference"] < 1e-4 and found["head"] < 1e-4


def test_int8_is_near_the_model_and_a_third_of_its_size(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    verifier = load("omniglot", runtime="torch")
    write_export(verifier, "int8", tmp_path / "int8", pictures(photos, 100))
    assert 0 < check_export(tmp_path / "int8")["largest_difference"] < 0.25
    size = (tmp_path / "int8" / "model.onnx").stat().st_size
    assert size < len(verifier.encoder.files(verifier.examples())[0]) / 3
    settings = json.loads((tmp_path / "int8" / "export.json").read_text())
    assert settings["decision"]["threshold"] == verifier.decision.threshold
    assert "onelook" in metadata_of(tmp_path / "int8" / "model.onnx")


def metadata_of(path: Path) -> dict[str, str]:
    import onnx

    return {one.key: one.value for one in onnx.load(path).metadata_props}


@pytest.mark.filterwarnings("ignore:.torch.jit.load.:DeprecationWarning")
def test_torchscript_keeps_the_preprocessing_and_the_decision(tmp_path):
    write_export(load("omniglot", runtime="torch"), "torchscript", tmp_path)
    kept = {"onelook.json": ""}
    torch.jit.load(str(tmp_path / "model.pt"), _extra_files=kept)
    settings = json.loads(kept["onelook.json"])
    assert settings == json.loads((tmp_path / "export.json").read_text())
    assert settings["preprocess"]["height"] == 48
    assert settings["decision"]["threshold"]


def test_the_parity_file_holds_the_vectors_that_the_model_gives(headed, tmp_path):
    write_export(headed, "torchscript", tmp_path)
    content = json.loads((tmp_path / "parity.json").read_text())
    pixels = np.stack([pixels_of(one, (1, 32, 32)) for one in content["items"]])
    vectors = np.array([one["vector"] for one in content["items"]], np.float32)
    np.testing.assert_array_equal(vectors, headed.embed_loaded(pixels))
    left, right = np.array(content["pairs"]).T
    scores = headed.score(vectors[left], vectors[right])
    np.testing.assert_allclose(scores, content["scores"], rtol=1e-5)


def test_a_difference_above_the_tolerance_is_an_error(headed, tmp_path):
    write_export(headed, "torchscript", tmp_path)
    path = tmp_path / "parity.json"
    content = json.loads(path.read_text())
    content["items"][3]["vector"][0] += 100
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="more than the tolerance of 0.001"):
        check_export(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 9}, "has format 9, this onelook reads 1"),
        ({"fingerprint": "0"}, "of another model or training"),
        ({"items": []}, "does not fit the files beside it"),
        ({"items": [{"side": "left"}]}, "does not fit the files beside it"),
        ({"target": "openvno"}, "does not fit the files beside it"),
    ],
)
def test_a_damaged_parity_file_is_refused(headed, tmp_path, change, message):
    write_export(headed, "torchscript", tmp_path)
    path = tmp_path / "parity.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        check_export(tmp_path)


def test_missing_and_damaged_files_are_named(headed, tmp_path):
    with pytest.raises(CheckpointError, match=r"parity\.json cannot be read"):
        check_export(tmp_path)
    write_export(headed, "onnx", tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be run"):
        check_export(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx is missing"):
        check_export(tmp_path)


def test_what_an_export_needs_is_said(headed, tmp_path):
    with pytest.raises(DataError, match="100 or more, got 0: add --images FOLDER"):
        write_export(headed, "int8", tmp_path)
    with pytest.raises(DataError, match="needs 20 images, got 1"):
        write_export(headed, "onnx", tmp_path, [Image.new("L", (32, 32))])
    assert not list(tmp_path.iterdir())
    write_export(headed, "onnx", tmp_path)
    with pytest.raises(CheckpointError, match="holds a model: --to torchscript needs"):
        write_export(headed, "torchscript", tmp_path)


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory) -> Path:
    """examples/node with its package installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node or npm on this machine")
    folder = tmp_path_factory.mktemp("node")
    for path in NODE_EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=180
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry does not answer")
    if done.returncode:
        pytest.skip(f"npm install: {done.stderr.strip()[:200]}")
    return folder


def ask_node(node_folder: Path, exported: Path) -> tuple[int, dict]:
    done = subprocess.run(
        ["node", "parity.mjs", str(exported)],
        cwd=node_folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_node_repeats_the_parity_file(node_folder, headed, tmp_path):
    for name, verifier in (
        ("headed", headed),
        ("omniglot", load("omniglot", runtime="torch")),
    ):
        write_export(verifier, "onnx", tmp_path / name)
        status, found = ask_node(node_folder, tmp_path / name)
        print(found)
        assert status == 0 and found["largest_difference"] <= 1e-4
    path = tmp_path / "headed" / "parity.json"
    content = json.loads(path.read_text())
    content["items"][0]["vector"][0] += 100
    path.write_text(json.dumps(content))
    assert ask_node(node_folder, tmp_path / "headed")[0] == 1
