"""Protocols that look after their photographs: faces that LFW is known to hold."""

import numpy as np
import pytest
from PIL import Image
from torch import nn

from onelook.evaluation.protocols import evaluate
from onelook.models.siamese import Siamese
from onelook.models.similarity import EuclideanSimilarity
from onelook.recipe import ImageSettings
from onelook.verifier import from_model


@pytest.fixture
def faceless_lfw(tmp_path):
    """Two people and two folds of View 2, and not one face in the photographs of noise."""
    rng = np.random.default_rng(0)
    for person in ("Ada", "Bea"):
        folder = tmp_path / "lfw" / person
        folder.mkdir(parents=True)
        for number in (1, 2):
            pixels = rng.integers(0, 256, (120, 120, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{person}_000{number}.jpg")
    fold = "Ada\t1\t2\nAda\t1\tBea\t2\n"
    (tmp_path / "pairs.txt").write_text(f"2\t1\n{fold}{fold}")
    return tmp_path


def test_lfw_counts_the_photographs_without_a_found_face(faceless_lfw):
    pytest.importorskip("dlib")
    from onelook.data.inputs import FaceInput

    settings = ImageSettings(height=32, width=32, channels=3)
    model = Siamese(nn.Flatten(), EuclideanSimilarity())
    verifier = from_model(model, FaceInput(settings))
    result = evaluate(verifier, "lfw-view2", faceless_lfw)
    assert "no face found in 3 photographs, their middle taken" in result.protocol
    assert verifier.input.replaced == []  # the user's own model still refuses
