"""A network of the user's own: trained, saved, served."""

import sys

import numpy as np
import pytest
import torch

from onelook.errors import CheckpointError
from onelook.loading import load
from onelook.models.encoders import build_encoder
from onelook.recipe import NamedSettings, override
from onelook.runtime.onnx import OnnxEncoder
from onelook.training.train import train

SOURCE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.arguments = {"width": width}
        self.embedding_size = width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(256, width))

    def forward(self, images):
        return self.layers(images)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "shop_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    import shop_nets

    yield shop_nets
    del sys.modules["shop_nets"]


def test_a_recipe_names_it_by_its_import_path(
    nets, shapes_folder, shapes_recipe, tmp_path, monkeypatch
):
    encoder = {"name": "shop_nets:Net", "arguments": {"width": 6}}
    recipe = override(shapes_recipe, {"epochs": 2, "encoder": encoder})
    out = train(recipe, shapes_folder, tmp_path / "run", progress=False).out
    images = sorted(shapes_folder.glob("shape00/*.png"))[:3]
    answering, network = load(out), load(out, runtime="torch")
    assert isinstance(answering.encoder, OnnxEncoder)
    assert isinstance(network.model.encoder, nets.Net)
    np.testing.assert_allclose(answering.embed(images), network.embed(images), atol=1e-5)
    # Where the code is not, ONNX Runtime still answers, and PyTorch says what is missing.
    monkeypatch.setitem(sys.modules, "shop_nets", None)
    assert load(out).embed(images).shape == (3, 6)
    with pytest.raises(CheckpointError, match="'shop_nets:Net' cannot be imported"):
        load(out, runtime="torch")


def test_an_instance_is_trained_and_saved(nets, shapes_folder, shapes_recipe, tmp_path):
    net = nets.Net(width=5)
    before = net.layers[1].weight.detach().clone()
    recipe = override(shapes_recipe, {"epochs": 2, "optimizer.ema": 0.0})
    run = train(recipe, shapes_folder, tmp_path / "run", encoder=net, progress=False)
    assert not torch.equal(net.layers[1].weight, before)
    again = load(run.out, runtime="torch").model.encoder
    assert isinstance(again, nets.Net) and again.embedding_size == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "unknown encoder 'resnet'; known: att, .*package.module:Class"),
        ("no_such.nets:Net", "'no_such.nets:Net' cannot be imported .*PYTHONPATH"),
        ("os:system", "'os:system' is not a class of torch.nn.Module"),
        ("torch.nn:Identity", "'torch.nn:Identity' needs an attribute embedding_size"),
    ],
)
def test_what_is_no_encoder_is_named(name, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(NamedSettings(name=name))
