"""Distances, similarities and pair heads: how alike two embeddings are.

The functions are pure formulas on embeddings, pair by pair, (N, D) and (N, D) to (N,), or
in all combinations, ``_matrix``: (N, D) and (M, D) to (N, M). The modules turn them into
*scores*, larger when more alike; this file is the only place that turns a distance into a
score or back.

Half-precision embeddings are compared in float32, also under autocast: a distance is a
small difference of large numbers. Gradients are finite everywhere; at identical embeddings
that of a distance is 0.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from onelook.models.named import build_named
from onelook.recipe import NamedSettings

Formula = Callable[[Tensor, Tensor], Tensor]

# Entries of one block of a float64 matrix: 64 MB.
BLOCK_ENTRIES = 2**23
# A squared distance below this share of the squared length is rounding, not distance.
ROUNDING = 2e-14


def squared_euclidean_distance(left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distance (N,) of each pair, ``sum((left - right)**2)``."""
    left, right = _comparable(left, right)
    return (left - right).square().sum(-1)


def euclidean_distance(left: Tensor, right: Tensor) -> Tensor:
    """Euclidean distance of each pair, ``sqrt(sum((left - right)**2))``.

    Exactly 0 with gradient 0 at identical embeddings, where the square root alone has an
    infinite one.

    Example:
        >>> euclidean_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([5.])
    """
    return _square_root(squared_euclidean_distance(left, right))


def manhattan_distance(left: Tensor, right: Tensor) -> Tensor:
    """Manhattan (L1) distance of each pair, ``sum(|left - right|)``."""
    left, right = _comparable(left, right)
    return (left - right).abs().sum(-1)


def cosine_similarity(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of the angle of each pair, in [-1, 1].

    A zero vector has no direction: its similarity to anything is 0, with a finite gradient.
    """
    left, right = _comparable(left, right)
    return (unit_vectors(left) * unit_vectors(right)).sum(-1).clamp(-1, 1)


def exponential_similarity(left: Tensor, right: Tensor) -> Tensor:
    """``exp(-manhattan_distance)`` of each pair, in [0, 1].

    Reference:
        Mueller, Thyagarajan. Siamese Recurrent Architectures for Learning Sentence
        Similarity. AAAI 2016.
    """
    return torch.exp(-manhattan_distance(left, right))


def squared_euclidean_distance_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distances (N, M) of all combinations of (N, D) and (M, D).

    From one matrix product in float64, faster than differences one by one and no less exact
    than they are in float32: identical embeddings are at exactly 0.
    """
    left, right = _comparable(left, right)

    def block(rows: Tensor) -> Tensor:
        a, b = _widest(rows), _widest(right)  # (n, D), (M, D)
        a_squared = a.square().sum(1, keepdim=True)  # (n, 1)
        b_squared = b.square().sum(1, keepdim=True)  # (M, 1)
        # |a|^2 + |b|^2 - 2 ab, as one product.
        a_side = torch.cat([-2 * a, a_squared, torch.ones_like(a_squared)], dim=1)
        b_side = torch.cat([b, torch.ones_like(b_squared), b_squared], dim=1)
        squared = a_side @ b_side.T  # (n, M)
        return torch.where(squared <= ROUNDING * a_squared, 0.0, squared).to(rows.dtype)

    return _by_rows(block, left, right)


def euclidean_distance_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Euclidean distances of all combinations."""
    return _square_root(squared_euclidean_distance_matrix(left, right))


def manhattan_distance_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Manhattan distances of all combinations, with no (N, M, D) memory."""
    left, right = _comparable(left, right)
    return _by_rows(lambda rows: torch.cdist(rows, right, p=1.0), left, right)


def cosine_similarity_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of all combinations, 0 for a zero vector."""
    left, right = _comparable(left, right)

    def block(rows: Tensor) -> Tensor:
        product = unit_vectors(_widest(rows)) @ unit_vectors(_widest(right)).T  # (n, M)
        return product.clamp(-1, 1).to(rows.dtype)

    return _by_rows(block, left, right)


def exponential_similarity_matrix(left: Tensor, right: Tensor) -> Tensor:
    """``exp(-manhattan_distance)`` of all combinations."""
    return torch.exp(-manhattan_distance_matrix(left, right))


def unit_vectors(embeddings: Tensor) -> Tensor:
    """Embeddings (N, D) at length 1; a zero vector stays zero, with gradient 1."""
    norms = _square_root(embeddings.square().sum(-1, keepdim=True))  # (N, 1)
    return embeddings / torch.where(norms == 0, 1.0, norms)


class Similarity(nn.Module):
    """What all similarities share: embeddings in, scores out, larger when more alike.

    How people read a score, and how neighbours are looked up, is in ``runtime/scores.py``.
    """

    name: str

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Scores (N,) of the pairs of embeddings (N, D) and (N, D)."""
        raise NotImplementedError

    def matrix(self, left: Tensor, right: Tensor) -> Tensor:
        """Scores (N, M) of all combinations of embeddings (N, D) and (M, D)."""
        raise NotImplementedError


class FormulaSimilarity(Similarity):
    """Scores by formulas without weights, one of pairs and one of all combinations."""

    formulas: ClassVar[tuple[Formula, Formula]]

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.formulas[0](left, right)

    def matrix(self, left: Tensor, right: Tensor) -> Tensor:
        return self.formulas[1](left, right)


class CosineSimilarity(FormulaSimilarity):
    """Scores are cosines, in [-1, 1]."""

    name = "cosine"
    formulas = (cosine_similarity, cosine_similarity_matrix)


class ExponentialSimilarity(FormulaSimilarity):
    """Scores are ``exp(-manhattan_distance)``, in [0, 1]."""

    name = "exponential"
    formulas = (exponential_similarity, exponential_similarity_matrix)


class EuclideanSimilarity(FormulaSimilarity):
    """Scores are negative Euclidean distances."""

    name = "euclidean"
    formulas = (euclidean_distance, euclidean_distance_matrix)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return 0.0 - super().forward(left, right)  # 0 - 0, not -0

    def matrix(self, left: Tensor, right: Tensor) -> Tensor:
        return 0.0 - super().matrix(left, right)


class SquaredEuclideanSimilarity(EuclideanSimilarity):
    """Scores are negative squared Euclidean distances."""

    name = "squared-euclidean"
    formulas = (squared_euclidean_distance, squared_euclidean_distance_matrix)


class ManhattanSimilarity(EuclideanSimilarity):
    """Scores are negative Manhattan distances."""

    name = "manhattan"
    formulas = (manhattan_distance, manhattan_distance_matrix)


class WeightedL1Head(Similarity):
    """Learned weighted L1 similarity: the logit ``sum(weight * |left - right|) + bias``.

    The same as a linear layer on ``|left - right|``. Its sigmoid is the probability of
    *same*. The paper's formula has no bias; its initial weights and biases are N(0, 0.2)
    and N(0.5, 0.01) (mean, standard deviation).

    Reference:
        Koch, Zemel, Salakhutdinov. Siamese Neural Networks for One-shot Image Recognition.
        2015.
    """

    name = "weighted-l1"

    def __init__(
        self, embedding_size: int, bias: bool = True, published_init: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_size, 1, bias=bias)
        if published_init:
            nn.init.normal_(self.linear.weight, 0.0, 0.2)
            if bias:
                nn.init.normal_(self.linear.bias, 0.5, 0.01)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = _comparable(left, right)
        weight = self.linear.weight.to(left.dtype)  # (1, D)
        return ((left - right).abs() * weight).sum(-1) + self._bias()

    def matrix(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = _comparable(left, right)
        weight = self.linear.weight[0].to(left.dtype)  # (D,)
        # w |a - b| = sign(w) | |w| a - |w| b |: two L1 distances, with no (N, M, D) memory.
        alike, unlike = weight > 0, weight < 0
        size = weight.abs()
        left, right = left * size, right * size
        return (
            manhattan_distance_matrix(left[:, alike], right[:, alike])
            - manhattan_distance_matrix(left[:, unlike], right[:, unlike])
            + self._bias()
        )

    def _bias(self) -> Tensor | float:
        return 0.0 if self.linear.bias is None else self.linear.bias


class ConcatenationHead(Similarity):
    """Linear head on both embeddings side by side: ``weight @ [left, right] + bias``.

    That is ``u(left) + v(right)``, without any term in which the two meet, and it depends
    on which side is left: published as it is in the 19-layer system for faces, and a weak
    judge of pairs.
    """

    name = "concatenation"

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * embedding_size, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        u, v = self._halves(left, right)
        return u + v

    def matrix(self, left: Tensor, right: Tensor) -> Tensor:
        u, v = self._halves(left, right)
        return u[:, None] + v[None, :]

    def _halves(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        left, right = _comparable(left, right)
        weight = self.linear.weight.to(left.dtype)  # (1, 2 D)
        for_left, for_right = weight.chunk(2, dim=1)
        return (left * for_left).sum(-1), (right * for_right).sum(-1) + self.linear.bias


SIMILARITIES: dict[str, type[Similarity]] = {
    "euclidean": EuclideanSimilarity,
    "squared-euclidean": SquaredEuclideanSimilarity,
    "manhattan": ManhattanSimilarity,
    "cosine": CosineSimilarity,
    "exponential": ExponentialSimilarity,
    "weighted-l1": WeightedL1Head,
    "absolute-difference": WeightedL1Head,
    "concatenation": ConcatenationHead,
}


def build_similarity(settings: NamedSettings, embedding_size: int) -> Similarity:
    """The similarity that a recipe names, for embeddings of ``embedding_size``."""
    facts = {"embedding_size": embedding_size}
    return build_named("similarity", SIMILARITIES, settings, facts)


def _comparable(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides in one dtype of at least float32, checked."""
    for embeddings in (left, right):
        if embeddings.ndim != 2:
            raise ValueError(
                f"embeddings must have shape (N, D), got {tuple(embeddings.shape)}; "
                "flatten the encoder output first"
            )
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"left and right embeddings must have one size, "
            f"got {left.shape[1]} and {right.shape[1]}"
        )
    dtype = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    return left.to(dtype), right.to(dtype)


def _square_root(squared: Tensor) -> Tensor:
    if not squared.requires_grad:
        return squared.sqrt()
    # sqrt has no finite gradient at 0. "== 0" and not "> 0", so that a NaN stays one.
    zero = squared == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squared).sqrt())


def _widest(embeddings: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return embeddings if embeddings.device.type == "mps" else embeddings.double()


def _by_rows(block: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """``block`` on slices of ``left``, so that float64 intermediates stay small."""
    n_rows = max(1, BLOCK_ENTRIES // max(1, right.shape[0]))
    with torch.autocast(left.device.type, enabled=False):
        starts = range(0, max(1, len(left)), n_rows)
        return torch.cat([block(left[start : start + n_rows]) for start in starts])
