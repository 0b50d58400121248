"""dlib's face network in PyTorch, against dlib's own."""

import sys

import numpy as np
import pytest
import torch

from onelook.errors import OnelookError
from onelook.extras import file_of_extra
from onelook.models.dlib_weights import FILE
from onelook.models.encoders import build_encoder
from onelook.models.encoders.dlib_faces import MEAN, SCALE, DlibFaceEncoder
from onelook.recipe import NamedSettings

dlib = pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def faces():
    """Aligned "faces" (4, 150, 150, 3): smooth noise, for the network takes any picture."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (4, 3, 10, 10)))
    fine = torch.nn.functional.interpolate(coarse, (150, 150), mode="bilinear")
    return fine.permute(0, 2, 3, 1).round().to(torch.uint8).contiguous().numpy()


def test_embeddings_are_those_of_dlib(faces):
    path = file_of_extra("face_recognition_models", FILE, "faces")
    network = dlib.face_recognition_model_v1(str(path))
    expected = np.array(network.compute_face_descriptor(list(faces)))
    assert expected.std(0).mean() > 0.01  # four pictures, not four times the same
    pixels = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    images = (pixels - torch.tensor(MEAN)[:, None, None]) / SCALE
    with torch.no_grad():
        embeddings = DlibFaceEncoder().eval()(images).numpy()
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


def test_the_encoder_says_its_sizes_and_learns():
    settings = NamedSettings(name="dlib-faces", arguments={"pretrained": False})
    encoder = build_encoder(settings)
    embeddings = encoder(torch.rand(2, *encoder.input_shape))
    assert embeddings.shape == (2, encoder.embedding_size)
    embeddings.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    n_convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in encoder.modules())
    assert n_convolutions == 29  # as its author says


def test_missing_weights_are_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(OnelookError, match=r"pip install 'onelook\[faces\]'"):
        DlibFaceEncoder()
