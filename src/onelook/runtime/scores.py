"""Scores in NumPy: how alike two embeddings are, larger when more alike.

The formulas are those of ``models/similarity.py``, which training needs in PyTorch; tests
keep the two equal. Half-precision embeddings are compared in float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onelook.errors import CheckpointError

# Entries of one block of intermediate results: 64 MB in float64, and 4 MB in float32.
BLOCK_ENTRIES = 2**23
CACHED_ENTRIES = 2**20
# A squared distance below this share of the squared length is rounding, not distance.
ROUNDING = 2e-14

Array = NDArray[Any]
Formula = Callable[[Array, Array], Array]
Near = Literal["cosine", "euclidean", "manhattan"]


@dataclass(frozen=True)
class Scores:
    """How a model scores pairs, (N, D) and (N, D), and all combinations, (N, D) and (M, D).

    ``dissimilarity`` is a score as people read it: smaller when more alike. ``near`` is the
    distance by which an index looks up neighbours, which may not score highest.
    """

    name: str
    pairs: Formula
    matrix: Formula
    dissimilarity: Callable[[Array], Array]
    near: Near = "euclidean"
    follows_near: bool = True


def build_scores(name: str, weights: Mapping[str, Array] | None = None) -> Scores:
    """The scores of a similarity that a recipe names; ``weights`` are a learned head's."""
    if name not in SCORES:
        raise ValueError(f"unknown similarity {name!r}; known: {', '.join(SCORES)}")
    scores = SCORES[name]
    if isinstance(scores, Scores):
        return scores
    if not weights or "linear.weight" not in weights:
        raise CheckpointError(f"the head {name!r} needs its learned weights")
    bias = weights.get("linear.bias", np.zeros(1, np.float32))
    return scores(name, weights["linear.weight"][0], bias)


def _negative_distance(name: str, pairs: Formula, matrix: Formula, near: Near) -> Scores:
    return Scores(
        name,
        lambda left, right: 0 - pairs(left, right),  # 0 - 0, not -0
        lambda left, right: 0 - matrix(left, right),
        lambda score: 0 - score,
        near,
    )


def _squared_euclidean(left: Array, right: Array) -> Array:
    left, right = _comparable(left, right)
    squared: Array = np.square(left - right).sum(-1)
    return squared


def _squared_euclidean_matrix(left: Array, right: Array) -> Array:
    """From one product in float64; identical embeddings are at exactly 0."""
    left, right = _comparable(left, right)
    b = right.astype(np.float64)
    b_squared = np.square(b).sum(1)

    def block(rows: Array) -> Array:
        a = rows.astype(np.float64)
        a_squared = np.square(a).sum(1, keepdims=True)
        squared = a @ b.T
        squared *= -2
        squared += a_squared
        squared += b_squared
        squared[squared <= ROUNDING * a_squared] = 0
        return squared

    return _by_rows(block, left, right, BLOCK_ENTRIES // max(1, len(right)))


def _manhattan(left: Array, right: Array) -> Array:
    left, right = _comparable(left, right)
    distances: Array = np.abs(left - right).sum(-1)
    return distances


def _manhattan_matrix(left: Array, right: Array) -> Array:
    left, right = _comparable(left, right)

    def block(rows: Array) -> Array:
        n_columns = max(1, CACHED_ENTRIES // max(1, rows.size))
        found = np.empty((len(rows), len(right)), rows.dtype)
        for start in range(0, len(right), n_columns):
            part = rows[:, None] - right[None, start : start + n_columns]  # (n, m, D)
            found[:, start : start + n_columns] = np.abs(part, out=part).sum(-1)
        return found

    return _by_rows(block, left, right, CACHED_ENTRIES // max(1, 16 * left.shape[1]))


def _cosine(left: Array, right: Array) -> Array:
    left, right = _comparable(left, right)
    cosines: Array = np.clip((unit_vectors(left) * unit_vectors(right)).sum(-1), -1, 1)
    return cosines


def _cosine_matrix(left: Array, right: Array) -> Array:
    left, right = _comparable(left, right)
    across = unit_vectors(right.astype(np.float64)).T

    def block(rows: Array) -> Array:
        product: Array = unit_vectors(rows.astype(np.float64)) @ across
        np.clip(product, -1, 1, out=product)
        return product

    return _by_rows(block, left, right, BLOCK_ENTRIES // max(1, len(right)))


def _weighted_l1(name: str, weight: Array, bias: Array) -> Scores:
    """The logit ``sum(weight * |left - right|) + bias``."""

    def pairs(left: Array, right: Array) -> Array:
        left, right = _comparable(left, right)
        logits: Array = (np.abs(left - right) * weight).sum(-1) + bias
        return logits

    def matrix(left: Array, right: Array) -> Array:
        left, right = _comparable(left, right)
        # w |a - b| = sign(w) | |w| a - |w| b |: two L1 distances, with no (N, M, D) memory.
        left, right, alike = left * np.abs(weight), right * np.abs(weight), weight > 0
        unlike = _manhattan_matrix(left[:, ~alike], right[:, ~alike])
        return _manhattan_matrix(left[:, alike], right[:, alike]) - unlike + bias

    return Scores(name, pairs, matrix, _probability_of_different, "manhattan", False)


def _concatenation(name: str, weight: Array, bias: Array) -> Scores:
    """The logit ``weight @ [left, right] + bias``."""
    for_left, for_right = np.split(weight, 2)

    def halves(left: Array, right: Array) -> tuple[Array, Array]:
        left, right = _comparable(left, right)
        return (left * for_left).sum(-1), (right * for_right).sum(-1) + bias

    def pairs(left: Array, right: Array) -> Array:
        return np.add(*halves(left, right))

    def matrix(left: Array, right: Array) -> Array:
        from_left, from_right = halves(left, right)
        logits: Array = from_left[:, None] + from_right
        return logits

    return Scores(name, pairs, matrix, _probability_of_different, follows_near=False)


def _probability_of_different(logit: Array) -> Array:
    """``1 - sigmoid(logit)``: the head's own estimate, not calibrated."""
    return np.exp(-np.logaddexp(0, logit))


def _one_minus(score: Array) -> Array:
    return 1 - score


SCORES: dict[str, Scores | Callable[[str, Array, Array], Scores]] = {
    "euclidean": _negative_distance(
        "euclidean",
        lambda left, right: np.sqrt(_squared_euclidean(left, right)),
        lambda left, right: np.sqrt(_squared_euclidean_matrix(left, right)),
        "euclidean",
    ),
    "squared-euclidean": _negative_distance(
        "squared-euclidean", _squared_euclidean, _squared_euclidean_matrix, "euclidean"
    ),
    "manhattan": _negative_distance(
        "manhattan", _manhattan, _manhattan_matrix, "manhattan"
    ),
    "cosine": Scores("cosine", _cosine, _cosine_matrix, _one_minus, "cosine"),
    # Mueller, Thyagarajan. Siamese Recurrent Architectures for Learning Sentence
    # Similarity. AAAI 2016.
    "exponential": Scores(
        "exponential",
        lambda left, right: np.exp(-_manhattan(left, right)),
        lambda left, right: np.exp(-_manhattan_matrix(left, right)),
        _one_minus,
        "manhattan",
    ),
    "weighted-l1": _weighted_l1,
    "absolute-difference": _weighted_l1,
    "concatenation": _concatenation,
}


def _comparable(left: Array, right: Array) -> tuple[Array, Array]:
    """Both sides in one dtype of at least float32, checked."""
    for embeddings in (left, right):
        if embeddings.ndim != 2:
            raise ValueError(f"embeddings must have shape (N, D), got {embeddings.shape}")
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"left and right embeddings must have one size, "
            f"got {left.shape[1]} and {right.shape[1]}"
        )
    dtype = np.result_type(left.dtype, right.dtype, np.float32)
    return left.astype(dtype, copy=False), right.astype(dtype, copy=False)


def unit_vectors(embeddings: Array) -> Array:
    """Embeddings (N, D) at length 1; a zero vector stays zero."""
    norms = np.sqrt(np.square(embeddings).sum(-1, keepdims=True))
    return embeddings / np.where(norms == 0, 1, norms)


def _by_rows(
    block: Callable[[Array], Array], left: Array, right: Array, n_rows: int
) -> Array:
    """``block`` on slices of ``left``, so that intermediate results stay small."""
    found = np.empty((len(left), len(right)), left.dtype)
    for start in range(0, len(left), max(1, n_rows)):
        rows = slice(start, start + max(1, n_rows))
        found[rows] = block(left[rows])
    return found
