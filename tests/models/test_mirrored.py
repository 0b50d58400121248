"""MirroredEncoder: an image and its mirror image are one and the same to it."""

import torch

from onelook.models.encoders import build_encoder
from onelook.recipe import NamedSettings

COMPACT = {
    "name": "compact",
    "arguments": {"input_shape": [3, 16, 16], "width": 8, "embedding_size": 12},
}


def test_an_embedding_is_the_mean_of_those_of_both_views():
    settings = NamedSettings(name="mirrored", arguments={"encoder": COMPACT})
    mirrored = build_encoder(settings).eval()
    images = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        views = mirrored.encoder(images), mirrored.encoder(images.flip(3))
        assert not torch.allclose(*views)
        torch.testing.assert_close(mirrored(images), (views[0] + views[1]) / 2)
        torch.testing.assert_close(mirrored(images), mirrored(images.flip(3)))
    assert mirrored.embedding_size == 12 and tuple(mirrored.input_shape) == (3, 16, 16)
