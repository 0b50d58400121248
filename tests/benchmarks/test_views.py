"""Views: an image and its mirror image are one and the same to a mirrored model."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from onelook.errors import CheckpointError
from onelook.loading import load
from onelook.verifier import from_function
from views import mirrored


@pytest.fixture
def images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for name, one in (("a.png", image), ("b.png", ImageOps.mirror(image))):
        one.save(tmp_path / name)
    return [tmp_path / "a.png", tmp_path / "b.png"]


def test_a_mirrored_model_averages_both_views_and_comes_back_from_disk(images, tmp_path):
    plain = load("faces", runtime="torch")
    twice = mirrored(plain)
    mean = plain.embed(images).mean(0)
    assert twice.embed(images) == pytest.approx(np.stack([mean, mean]), abs=1e-4)
    assert twice.compare(*images).score == pytest.approx(1, abs=1e-6)
    assert twice.decision is None and twice.fingerprint != plain.fingerprint
    again = load(twice.save(tmp_path / "twice"))
    np.testing.assert_allclose(again.embed(images), twice.embed(images), atol=1e-4)


def test_a_model_that_cannot_be_built_again_cannot_be_mirrored():
    with pytest.raises(CheckpointError, match="mean cannot be mirrored"):
        mirrored(from_function(lambda images: np.zeros((len(images), 2)), name="mean"))
