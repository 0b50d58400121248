"""MirroredEncoder: any image encoder, looking at an image and at its mirror image."""

from typing import Any

from torch import Tensor, nn

from onelook.recipe import NamedSettings


class MirroredEncoder(nn.Module):
    """The mean of the embeddings of an image and of its mirror image.

    Twice the encoder's time and nothing else: galleries stay as large and comparisons as
    fast. For things that look alike in a mirror, such as faces; not for characters.

    Args:
        encoder: ``name`` and ``arguments`` of the encoder that looks.
    """

    def __init__(self, encoder: dict[str, Any]) -> None:
        super().__init__()
        from onelook.models.encoders import build_encoder  # which imports this file

        self.encoder = build_encoder(NamedSettings.model_validate(encoder))
        self.embedding_size: int = self.encoder.embedding_size
        self.input_shape: tuple[int, int, int] = self.encoder.input_shape

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to embeddings (N, D)."""
        embeddings: Tensor = (self.encoder(images) + self.encoder(images.flip(3))) / 2
        return embeddings
