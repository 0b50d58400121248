"""Fetch from and push to a hub on 127.0.0.1; no test leaves the machine."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import onelook
from hub_server import Hub
from onelook.models.encoders.hub import read_encoder
from onelook.models.network import build_model

transformers = pytest.importorskip("transformers")
VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VIT |= {"intermediate_size": 32, "image_size": 32, "patch_size": 8}
IMAGES = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "resample": 3}


def written(folder, config, images=IMAGES, size=32):
    """A folder of transformers with random weights, and its network."""
    torch.manual_seed(0)
    network = transformers.AutoModel.from_config(config).eval()
    network.save_pretrained(folder)
    if images is not None:
        size = {"height": size, "width": size}
        content = images | {"crop_size": size, "size": {"shortest_edge": 40}}
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return network


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    # As DINOv2: its positions were learned on larger images than it is given.
    config = transformers.Dinov2Config(**VIT | {"image_size": 48})
    return folder, written(folder, config)


@pytest.fixture
def hub(tiny):
    found = Hub()
    found.put("facebook/dinov2-small", tiny[0])
    return found


@pytest.fixture
def run(hub, tmp_path):
    """Run Python with the hub and with folders of its own."""
    with hub.serving() as endpoint:

        def python(*words, **settings):
            env = os.environ | {
                "HF_ENDPOINT": endpoint,
                "HF_HOME": str(tmp_path / "hf"),
                "ONELOOK_CACHE": str(tmp_path / "cache"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
            }
            command = [sys.executable, *map(str, words)]
            done = subprocess.run(
                command, capture_output=True, text=True, env=env | settings, timeout=120
            )
            return done.returncode, done.stdout, done.stderr

        yield python


@pytest.fixture
def cli(run):
    return lambda *words, **settings: run("-m", "onelook", *words, **settings)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model folder of onelook, with random weights."""
    arguments = {"width": 8, "embedding_size": 16, "input_shape": [3, 16, 16]}
    network = {
        "encoder": {"name": "compact", "arguments": arguments},
        "similarity": {"name": "cosine", "arguments": {}},
    }
    images = onelook.ImageInput(onelook.ImageSettings(height=16, width=16, channels=3))
    verifier = onelook.from_model(build_model(network), images, network=network)
    return verifier.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path)
    return paths, pixels


def embedded(network, pixels):
    """What transformers itself gives for pixels (N, 32, 32, 3)."""
    mean, std = (torch.tensor(IMAGES[f"image_{name}"]) for name in ("mean", "std"))
    images = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return network(pixel_values=images).pooler_output.numpy()


def test_a_fetched_encoder_answers_as_transformers_does_and_without_it(
    hub, run, cli, tiny, pictures, monkeypatch, tmp_path
):
    status, out, err = cli("fetch", "dinov2-small")
    assert status == 0, err
    assert "onelook calibrate dinov2-small --data FOLDER --out mine" in out
    folder = tmp_path / "cache" / "hub" / "dinov2-small"
    record = json.loads((folder / "hub.json").read_text())
    assert record["revision"] == hub.revision("facebook/dinov2-small")
    asked = len(hub.asked)
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    paths, pixels = pictures
    verifier = onelook.load("dinov2-small")
    expected = embedded(tiny[1], pixels)
    np.testing.assert_allclose(verifier.embed(paths), expected, atol=1e-4)
    torch_too = onelook.load("dinov2-small", runtime="torch")
    np.testing.assert_allclose(torch_too.embed(paths), expected, atol=1e-4)
    answer = verifier.compare(*paths)
    assert answer.is_same is None and answer.threshold is None
    cosine = np.dot(*expected) / np.prod(np.linalg.norm(expected, axis=1))
    assert answer.score == pytest.approx(cosine, abs=1e-4)
    without = "import sys; sys.modules |= {'torch': None, 'transformers': None}; "
    without += "from onelook.cli import main; main(sys.argv[1:])"
    words = ("compare", *paths, "--model", "dinov2-small", "--json")
    status, out, err = run("-c", without, *words)
    assert status == 0, err
    assert json.loads(out)["score"] == pytest.approx(answer.score, abs=1e-4)
    assert len(hub.asked) == asked  # the hub is asked by nothing but fetch


@pytest.mark.slow
def test_a_changed_revision_is_refused_and_can_be_had_by_its_number(hub, cli, tiny):
    assert cli("fetch", "dinov2-small")[0] == 0
    assert cli("fetch", "dinov2-small")[0] == 0
    hub.asked.clear()
    assert cli("fetch", "dinov2-small", HF_HUB_OFFLINE="1")[0] == 0 and not hub.asked
    hub.files["facebook/dinov2-small"]["README.md"] = b"changed"
    now = hub.revision("facebook/dinov2-small")
    status, _, err = cli("fetch", "dinov2-small")
    assert status == 1 and f"is now at {now}" in err
    pinned = f"hf-hub:facebook/dinov2-small@{now}"
    assert pinned in err
    assert cli("fetch", pinned)[0] == 0
    status, out, _ = cli("models", pinned)
    assert status == 0 and out.startswith(f"facebook/dinov2-small@{now}")


@pytest.mark.slow
def test_the_half_that_sees_is_taken_of_a_network_of_images_and_texts(
    hub, run, tmp_path, pictures
):
    text = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.SiglipConfig(vision_config=VIT, text_config=text)
    network = written(tmp_path / "siglip", config)
    hub.put("google/siglip2-base-patch16-224", tmp_path / "siglip")
    paths, pixels = pictures
    code = "import sys, onelook; print(onelook.load('siglip2-base').embed(sys.argv[1:])"
    status, out, err = run("-c", f"{code}.tolist())", *paths)
    assert status == 0, err
    assert "fetching siglip2-base, 1,500 MB, from http://127.0.0.1" in err
    expected = embedded(network.vision_model, pixels)
    np.testing.assert_allclose(json.loads(out), expected, atol=1e-4)


def test_what_cannot_be_fetched_says_why(hub, cli, tmp_path):
    hub.gated.add("org/gated")
    closed = "http://127.0.0.1:9"
    for name, settings, message in (
        ("dinov3", {}, "unknown model 'dinov3'; known: dinov2-base, dinov2-small, sig"),
        ("hf-hub:org/none", {}, "org/none does not exist, or is private: log in with"),
        ("hf-hub:org/gated", {}, "org/gated is gated: accept its terms on its page"),
        ("hf-hub:facebook/dinov2-small@v9", {}, "small has no revision 'v9'"),
        ("dinov2-small", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE keeps onelook off"),
        ("dinov2-small", {"HF_ENDPOINT": closed}, "127.0.0.1:9 does not answer for face"),
    ):
        status, _, err = cli("fetch", name, **settings)
        assert status == 1 and message in err, err
        assert err.count("error:") == 1 and "Traceback" not in err
    assert not list((tmp_path / "cache").glob("hub/*"))


@pytest.mark.slow
def test_what_is_no_vision_transformer_is_refused(hub, cli, tmp_path):
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    written(tmp_path / "bert", config, images=None)
    written(tmp_path / "bert-with-images", config)
    for name, why in (
        ("bert", "it has no preprocessor_config.json"),
        ("bert-with-images", "'bert' is no vision transformer"),
    ):
        hub.put(f"org/{name}", tmp_path / name)
        status, _, err = cli("fetch", f"hf-hub:org/{name}")
        assert status == 1 and why in err, err
    assert not list((tmp_path / "cache").glob("hub/*"))


def test_missing_weights_are_never_random_ones(tiny, tmp_path):
    deeper = transformers.Dinov2Config(**VIT | {"num_hidden_layers": 2, "image_size": 48})
    tiny[1].save_pretrained(tmp_path)
    deeper.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="its weights lack encoder.layer"):
        read_encoder(str(tmp_path), 32)


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(onelook.OnelookError, match=r"pip install 'onelook\[hub\]'"):
        onelook.load("hf-hub:org/name")


@pytest.mark.slow
def test_a_model_folder_is_pushed_fetched_whole_and_refused_when_damaged(
    hub, cli, saved, tmp_path, pictures
):
    status, _, err = cli("push", saved, "me/mine", HF_TOKEN="hf_wrong")
    assert status == 1 and "refused me/mine: Invalid username or password" in err
    status, out, err = cli("push", saved, "me/mine", HF_TOKEN="hf_right")
    assert status == 0, err
    now = hub.revision("me/mine")
    assert out.strip() == f"pushed: --model hf-hub:me/mine@{now}"
    assert hub.private["me/mine"] in (True, "private")
    assert set(hub.files["me/mine"]) == {one.name for one in saved.iterdir()}
    answers = [
        json.loads(cli("compare", *pictures[0], "--model", name, "--json")[1])
        for name in (saved, "hf-hub:me/mine")
    ]
    assert answers[0] == answers[1]
    weights = hub.files["me/mine"]["model.safetensors"]
    hub.files["me/mine"]["model.safetensors"] = weights[:-1] + bytes([weights[-1] ^ 1])
    status, _, err = cli("fetch", f"hf-hub:me/mine@{hub.revision('me/mine')}")
    assert status == 1 and "is not the file that model.json was written with" in err
    assert len(list((tmp_path / "cache" / "hub").iterdir())) == 1
