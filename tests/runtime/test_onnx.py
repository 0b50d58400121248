"""Every encoder of a recipe through ONNX Runtime, against PyTorch."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save

from onelook.errors import CheckpointError
from onelook.models.encoders import ENCODERS, build_encoder
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import build_similarity
from onelook.recipe import NamedSettings
from onelook.runtime.export import TOLERANCE, exported, largest_difference
from onelook.runtime.onnx import OnnxEncoder
from onelook.runtime.torch import TorchEncoder

COMPACT = {"input_shape": [1, 32, 32], "width": 8, "embedding_size": 16}
ARGUMENTS = {
    "compact": COMPACT,
    "compact standardize": {**COMPACT, "standardize": True, "pool": 3},
    "dlib-faces": {"pretrained": False},
    "efficientnet-lite0": {"pretrained": False, "image_size": 64, "embedding_size": 8},
    "efficientnet-lite2": {
        **{"pretrained": False, "image_size": 64, "power": 3.0, "centre": 0.7},
        "embedding_size": 8,
    },
    "headed": {"encoder": {"name": "compact", "arguments": COMPACT}},
    "lstm": {"vocabulary_size": 30, "token_size": 8},
    "lstm mean": {
        **{"vocabulary_size": 30, "token_size": 8},
        **{"bidirectional": True, "pooling": "mean"},
    },
    "mirrored": {"encoder": {"name": "compact", "arguments": COMPACT}},
    "stroke-lstm": {"width": 8, "hidden_size": 8, "layers": 2},
}
LARGE = ("att", "lfw19", "koch")  # 161, 544 and 156 MB


def encoder_of(case):
    name = case.split()[0]
    settings = NamedSettings(name=name, arguments=ARGUMENTS.get(case, {}))
    return build_encoder(settings)


def trained(case):
    """A twin network whose weights are not what it began with."""
    torch.manual_seed(0)
    encoder = encoder_of(case)
    for name, tensor in encoder.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand_like(tensor) * 0.1
            tensor.add_(noise if "var" in name else noise - 0.05)
    size = encoder.embedding_size
    return Siamese(encoder, build_similarity(NamedSettings(name="cosine"), size))


def inputs_for(case, n, steps=9):
    rng = np.random.default_rng(n)
    lengths = rng.integers(0, steps + 1, n)
    lengths[0] = steps
    if case.startswith("lstm"):
        return {"values": rng.integers(0, 30, (n, steps)), "lengths": lengths}
    if case == "stroke-lstm":
        values = rng.normal(size=(n, steps, 3)).astype(np.float32)
        return {"values": values, "lengths": lengths}
    shape = encoder_of(case).input_shape
    return {"images": rng.random((n, *shape), np.float32)}


def embeddings(model, inputs, side="left"):
    return TorchEncoder(model)(inputs, side)


def export(model, **examples):
    encoder = TorchEncoder(model)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return exported(encoder, save(tensors), examples)


def write(encoder, folder):
    (folder / "model.safetensors").write_bytes(encoder.content)
    (folder / "model.onnx").write_bytes(encoder.graphs["left"])


@pytest.mark.parametrize(
    "case", [*ARGUMENTS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_every_encoder_gives_the_embeddings_that_pytorch_gives(case):
    model = trained(case).eval()
    onnx = export(model, left=inputs_for(case, 2))
    assert len(onnx.graphs["left"]) < 300_000  # no weights in it
    for n, steps in ((1, 5), (5, 21)):
        inputs = inputs_for(case, n, steps)
        assert largest_difference(embeddings(model, inputs), onnx(inputs)) < TOLERANCE
        assert onnx(inputs).dtype == np.float32
    empty = {name: values[:0] for name, values in inputs_for(case, 1).items()}
    assert onnx(empty).shape == (0, model.encoder.embedding_size)


@pytest.mark.parametrize("case", ["compact", "lstm"])
def test_parts_of_a_large_batch_give_what_the_whole_gives(case, monkeypatch):
    onnx, inputs = (
        export(trained(case).eval(), left=inputs_for(case, 2)),
        inputs_for(case, 7),
    )
    whole = onnx(inputs)
    monkeypatch.setattr(
        "onelook.runtime.onnx.MOST_NUMBERS", 3 * next(iter(inputs.values()))[0].size
    )
    np.testing.assert_allclose(onnx(inputs), whole, atol=1e-6)


def test_every_encoder_is_tried():
    assert {case.split()[0] for case in [*ARGUMENTS, *LARGE]} == set(ENCODERS) - {
        "timm",
        "hub",
    }


def test_a_pseudo_siamese_network_has_a_graph_for_each_side():
    left = trained("compact").encoder
    right = build_encoder(
        NamedSettings(name="lstm", arguments={"vocabulary_size": 30, "hidden_size": 16})
    )
    similarity = build_similarity(NamedSettings(name="cosine"), 16)
    model = PseudoSiamese(left, right, similarity).eval()
    sides = {"left": inputs_for("compact", 3), "right": inputs_for("lstm", 3)}
    onnx = export(model, **sides)
    assert set(onnx.graphs) == {"left", "right"}
    for side, inputs in sides.items():
        difference = largest_difference(embeddings(model, inputs, side), onnx(inputs, side))
        assert difference < TOLERANCE
    with pytest.raises(ValueError, match="'left' or 'right', got 'top'"):
        onnx(sides["left"], "top")


def test_other_programs_open_the_graph_where_the_weights_lie_beside_it(tmp_path):
    import onnxruntime

    model = trained("compact").eval()
    write(export(model, left=inputs_for("compact", 2)), tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    inputs = inputs_for("compact", 3)
    np.testing.assert_allclose(
        session.run(None, inputs)[0], embeddings(model, inputs), atol=1e-5
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("used_before", [True, False])
def test_a_forked_child_answers_and_ends(tmp_path, used_before):
    model = trained("compact").eval()
    write(export(model, left=inputs_for("compact", 2)), tmp_path)
    script = f"""
import os, sys
import numpy as np
from pathlib import Path
from onelook.runtime.onnx import OnnxEncoder
folder = Path({str(tmp_path)!r})
encoder = OnnxEncoder((folder / "model.safetensors").read_bytes(),
                      {{"left": (folder / "model.onnx").read_bytes()}}, 16)
images = {{"images": np.ones((4, 1, 32, 32), np.float32)}}
if {used_before}:
    encoder(images)
if os.fork() == 0:
    encoder(images)
    sys.exit(7)  # an orderly end, which frees what the parent had begun
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
encoder(images)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment)


def test_nothing_is_written_into_a_fresh_home(tmp_path):
    model = trained("compact").eval()
    write(export(model, left=inputs_for("compact", 2)), tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    script = f"""
from pathlib import Path
import numpy as np
from onelook.runtime.onnx import OnnxEncoder
folder = Path({str(tmp_path)!r})
encoder = OnnxEncoder((folder / "model.safetensors").read_bytes(),
                      {{"left": (folder / "model.onnx").read_bytes()}}, 16)
encoder({{"images": np.ones((4, 1, 32, 32), np.float32)}})
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    environment |= {"HOME": str(home)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert list(home.rglob("*")) == []


def test_a_graph_that_gives_other_embeddings_is_refused(monkeypatch):
    encoder = TorchEncoder(trained("compact"))
    monkeypatch.setattr(OnnxEncoder, "__call__", lambda *taken: encoder(*taken[1:]) * 1.01)
    with pytest.raises(CheckpointError, match=r"^model.onnx: .* by up to 0.01"):
        exported(encoder, encoder.files({})[0], {"left": inputs_for("compact", 2)})


def test_a_network_without_an_onnx_form_keeps_its_weights(caplog):
    class Sorted(torch.nn.Module):
        embedding_size = 4

        def forward(self, images):
            return torch.linalg.eigvals(images[:, 0]).abs()

    model = Siamese(Sorted(), build_similarity(NamedSettings(name="cosine"), 4))
    images = {"images": np.random.default_rng(0).random((2, 1, 4, 4), np.float32)}
    assert TorchEncoder(model).files({"left": images})[1] == {}
    assert "no ONNX form, so PyTorch will have to answer" in caplog.text
