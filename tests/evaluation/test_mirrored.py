"""Mirrored: the two views of an image, and what cannot be mirrored."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from onelook.data.images import Preprocess
from onelook.evaluation.mirrored import Mirrored
from onelook.evaluation.scorer import score_pairs
from onelook.models.encoders import build_encoder
from onelook.models.siamese import Siamese
from onelook.models.similarity import build_similarity
from onelook.recipe import ImageSettings, NamedSettings
from onelook.verifier import Verifier, from_function


@pytest.fixture
def verifier():
    arguments = {"input_shape": [3, 16, 16], "width": 8, "embedding_size": 12}
    encoder = build_encoder(NamedSettings(name="compact", arguments=arguments))
    model = Siamese(encoder, build_similarity(NamedSettings(name="cosine"), 12))
    settings = ImageSettings(height=16, width=16, channels=3)
    return Verifier(model, Preprocess(settings), card={"name": "faces"})


@pytest.fixture
def images(tmp_path):
    rng, paths = np.random.default_rng(0), []
    for i in range(3):
        image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        for name, one in ((f"{i}.png", image), (f"{i}m.png", ImageOps.mirror(image))):
            one.save(tmp_path / name)
            paths.append(str(tmp_path / name))
    return paths


def test_an_embedding_is_the_sum_of_the_unit_embeddings_of_both_views(verifier, images):
    views = verifier.embed(images)
    units = views / np.linalg.norm(views, axis=1, keepdims=True)
    expected = (units[0::2] + units[1::2]).repeat(2, axis=0)
    scorer = Mirrored(verifier)
    assert scorer.embed(images) == pytest.approx(expected, abs=1e-5)
    assert scorer.name == "faces (mirrored)"
    # So an image and its mirror image are one and the same.
    assert score_pairs(scorer, images[0::2], images[1::2]) == pytest.approx(1, abs=1e-5)
    assert np.abs(np.diag(scorer.score_matrix(expected, expected)) - 1).max() < 1e-5


def test_only_twins_on_images_can_be_mirrored():
    with pytest.raises(ValueError, match="mean cannot be mirrored"):
        Mirrored(from_function(lambda images: np.zeros((len(images), 2)), name="mean"))
