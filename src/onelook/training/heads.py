"""Heads: a linear map after a ready network, fitted in seconds on a few photographs.

A head shrinks what varies among images of one class, so that what tells classes apart
counts for more (within-class whitening: Hatch, Kajarekar, Stolcke 2006). Which head, and
whether any, is chosen by classes that it was not fitted on; so are the thresholds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import Dataset
from onelook.progress import tracked
from onelook.runtime.scores import build_scores, unit_vectors

SHRINKAGES = (10.0, 3.0, 1.0)  # in units of the mean variance within classes
MOST_OF_CLASS = 100  # images of one class that a head is fitted on
MOST_COMPARED = 3000  # images that choose the head and its thresholds
MOST_FOLDS = 8

SMALLEST_VARIANCE = 1e-10  # of the largest; below lies rounding

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear map of unit embeddings, whose results are compared by their cosine."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) of embeddings (N, D)."""
        mapped: NDArray[np.float32] = unit_vectors(embeddings) @ self.weight.T + self.bias
        return mapped


def fit_heads(embeddings: NDArray[np.float32], labels: Indices) -> dict[float, Head]:
    """The head of each shrinkage, from embeddings (N, D) and their classes (N,)."""
    rows = spread(labels, MOST_OF_CLASS * len(np.unique(labels)))
    points = unit_vectors(embeddings[rows]).astype(np.float64)
    classes, class_of = np.unique(labels[rows], return_inverse=True)
    sums = np.zeros((len(classes), points.shape[1]))
    np.add.at(sums, class_of, points)
    centres = sums / np.bincount(class_of)[:, None]
    within = points - centres[class_of]
    variances, directions = _principal(within)
    mean = variances.sum() / points.shape[1]
    origin = centres.mean(0)
    return {
        shrinkage: _whitening(directions, variances, shrinkage * mean, origin)
        for shrinkage in SHRINKAGES
    }


def _principal(points: Floats) -> tuple[Floats, Floats]:
    """Variances (r,) of points (N, D) around the origin, and their directions (r, D).

    By the smaller of the two matrices of products: a tenth of the time of an SVD.
    """
    n, size = points.shape
    if n >= size:
        variances, columns = np.linalg.eigh(points.T @ points / n)
        return np.maximum(variances, 0), columns.T
    variances, columns = np.linalg.eigh(points @ points.T / n)
    kept = variances > SMALLEST_VARIANCE * variances[-1]
    directions = columns[:, kept].T @ points / np.sqrt(n * variances[kept])[:, None]
    return variances[kept], directions


def _whitening(directions: Floats, variances: Floats, added: float, origin: Floats) -> Head:
    """The inverse root of the variance with ``added`` in all directions, times its root."""
    shrunk = 1 - np.sqrt(added / (variances + added))
    weight = np.eye(len(origin)) - (directions.T * shrunk) @ directions
    return Head(weight.astype(np.float32), (-weight @ origin).astype(np.float32))


def cross_fit(
    embeddings: NDArray[np.float32], labels: Indices, seed: int, progress: bool
) -> dict[float | None, NDArray[np.float32]]:
    """Scores (N, N) by heads that saw neither class of a pair, for each shrinkage.

    Classes are dealt into folds; for every two folds, heads are fitted on all the others.
    """
    classes, class_of = np.unique(labels, return_inverse=True)
    n_folds = min(len(classes), MOST_FOLDS)
    fold = (np.random.default_rng(seed).permutation(len(classes)) % n_folds)[class_of]
    n, cosine = len(labels), build_scores("cosine").matrix
    scores: dict[float | None, NDArray[np.float32]] = {
        shrinkage: np.zeros((n, n), np.float32) for shrinkage in SHRINKAGES
    }
    both = list(combinations_with_replacement(range(n_folds), 2))
    for a, b in tracked(both, "fitting heads", progress):
        rest = ~np.isin(fold, (a, b))
        of_a, of_b = np.flatnonzero(fold == a), np.flatnonzero(fold == b)
        for shrinkage, head in fit_heads(embeddings[rest], labels[rest]).items():
            block = cosine(head(embeddings[of_a]), head(embeddings[of_b]))
            scores[shrinkage][np.ix_(of_a, of_b)] = block
            scores[shrinkage][np.ix_(of_b, of_a)] = block.T
    return scores


def halves(
    embeddings: NDArray[np.float32], labels: Indices, shrinkage: float, seed: int
) -> tuple[NDArray[np.float32], Indices]:
    """Embeddings (N, D) of each half of the classes by a head of the other, and the half.

    They stand for places where cohorts are met: an embedding can be centred, a score of
    ``cross_fit`` cannot.
    """
    classes, class_of = np.unique(labels, return_inverse=True)
    half = (np.random.default_rng(seed).permutation(len(classes)) % 2)[class_of]
    mapped = np.empty_like(embeddings)
    for side in (0, 1):
        head = fit_heads(embeddings[half != side], labels[half != side])[shrinkage]
        mapped[half == side] = head(embeddings[half == side])
    return mapped, half


def spread(labels: Indices, most: int) -> Indices:
    """Rows of at most ``most`` items, as evenly over the classes as they allow."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(0).permutation(len(labels))
    rank = np.empty(len(labels), np.int64)
    for rows in _of_classes(labels[order]):
        rank[order[rows]] = np.arange(len(rows))
    return np.sort(np.argsort(rank, kind="stable")[:most])


def _of_classes(labels: Indices) -> Iterator[Indices]:
    order = np.argsort(labels, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def usable(items: Dataset, fewest: int) -> str:
    """Why no head can be fitted on these items; empty if one can."""
    counts = np.bincount(items.labels)
    several = int((counts > 1).sum())
    if several >= fewest:
        return ""
    return (
        f"{items.name} has {several} classes with two images or more, and a model needs "
        f"{fewest} of them for its thresholds; add classes, or images to those of one image"
    )
