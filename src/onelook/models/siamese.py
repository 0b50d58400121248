"""Twin networks: one encoder for both sides of a pair, or one for each (PseudoSiamese).

After Bromley, Guyon, LeCun, Säckinger and Shah, Signature Verification using a "Siamese"
Time Delay Neural Network (1993).
"""

from typing import Any

from torch import Tensor, nn

from onelook.models.similarity import Similarity


class Siamese(nn.Module):
    """Both twins through one encoder, then a similarity of their embeddings.

    Args:
        encoder: Any module that maps inputs to embeddings (N, D).
        similarity: Scores pairs of embeddings; its weights, if any, belong to the model.

    Example:
        >>> import torch
        >>> from onelook.models.similarity import EuclideanSimilarity
        >>> model = Siamese(nn.Flatten(), EuclideanSimilarity())
        >>> images = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 0.0]]])
        >>> model(images, left=torch.tensor([0, 0]), right=torch.tensor([1, 2]))
        tensor([-5., 0.])
    """

    def __init__(self, encoder: nn.Module, similarity: Similarity) -> None:
        super().__init__()
        self.encoder = encoder
        self.similarity = similarity

    def encoder_of(self, side: str) -> nn.Module:
        """The encoder of one side: the same for both."""
        return _of_side(side, self.encoder, self.encoder)

    def encode(self, inputs: Any, side: str = "left") -> Tensor:
        """Embeddings (N, D) of N inputs; the side makes no difference.

        Raises:
            ValueError: If the encoder does not give one vector for each input.
        """
        return _embeddings(self.encoder_of(side), inputs)

    def forward(self, inputs: Any, left: Tensor, right: Tensor) -> Tensor:
        """Scores of pairs, each distinct input encoded once, all of them in one pass.

        Args:
            inputs: What the encoder takes, N of them.
            left: (M,) int64, index into ``inputs`` of the left side of each pair.
            right: (M,) int64, of the right side.

        Returns:
            (M,) scores, larger when more alike.
        """
        embeddings = self.encode(inputs)  # (N, D)
        scores: Tensor = self.similarity(embeddings[left], embeddings[right])  # (M,)
        return scores


class PseudoSiamese(nn.Module):
    """Two encoders into one embedding space, for sides of two kinds: image and strokes.

    Args:
        left_encoder: Maps the left inputs to embeddings (N, D).
        right_encoder: Maps the right inputs to embeddings (N, D), of the same D.
        similarity: Scores pairs of embeddings.

    Raises:
        ValueError: If both encoders say their ``embedding_size`` and the sizes differ.
    """

    def __init__(
        self, left_encoder: nn.Module, right_encoder: nn.Module, similarity: Similarity
    ) -> None:
        super().__init__()
        sizes = [getattr(e, "embedding_size", None) for e in (left_encoder, right_encoder)]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f"both encoders must have one embedding_size, got {sizes[0]} and {sizes[1]}"
            )
        self.left_encoder = left_encoder
        self.right_encoder = right_encoder
        self.similarity = similarity

    def encoder_of(self, side: str) -> nn.Module:
        """The encoder of one side."""
        return _of_side(side, self.left_encoder, self.right_encoder)

    def encode(self, inputs: Any, side: str = "left") -> Tensor:
        """Embeddings (N, D) of N inputs of one side.

        Raises:
            ValueError: If the encoder does not give one vector for each input.
        """
        return _embeddings(self.encoder_of(side), inputs)

    def forward(self, left_inputs: Any, right_inputs: Any) -> Tensor:
        """Scores (N,) of N left inputs with the N right inputs, one by one."""
        left = self.encode(left_inputs, "left")  # (N, D)
        right = self.encode(right_inputs, "right")  # (N, D)
        scores: Tensor = self.similarity(left, right)
        return scores


def _of_side(side: str, left: nn.Module, right: nn.Module) -> nn.Module:
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}")
    return left if side == "left" else right


def _embeddings(encoder: nn.Module, inputs: Any) -> Tensor:
    embeddings: Tensor = encoder(inputs)
    if embeddings.ndim != 2:
        raise ValueError(
            f"embeddings must have shape (N, D), got {tuple(embeddings.shape)}; "
            "flatten the encoder output first"
        )
    return embeddings
