"""HeadedEncoder: a ready image encoder and a linear head after it."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from onelook.recipe import NamedSettings


class HeadedEncoder(nn.Module):
    """A linear map of the unit embeddings of another encoder.

    Args:
        encoder: ``name`` and ``arguments`` of that encoder.
    """

    def __init__(self, encoder: dict[str, Any]) -> None:
        super().__init__()
        from onelook.models.encoders import build_encoder  # which imports this file

        self.encoder = build_encoder(NamedSettings.model_validate(encoder))
        self.embedding_size: int = self.encoder.embedding_size
        self.input_shape: tuple[int, int, int] = self.encoder.input_shape
        self.head = nn.Linear(self.embedding_size, self.embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to embeddings (N, D)."""
        embeddings: Tensor = self.head(normalize(self.encoder(images)))
        return embeddings
