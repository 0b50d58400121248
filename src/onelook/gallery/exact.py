"""Vectors in memory and an exact search of the nearest: a quick pass, then a check."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelook.gallery.store import Floats, Hit, Ids, Metric

Doubles = NDArray[np.float64]
SCORES_AT_ONCE = 1 << 24  # entries of a matrix of distances: 64 MB
MEASURED_AT_ONCE = 1 << 17  # numbers of vectors
FEW = 4  # queries


class Vectors(NamedTuple):
    """Rows that never change: ids (N,), vectors (N, D) and their squared lengths (N,)."""

    ids: Ids
    vectors: Floats
    squares: Floats

    def at(self, rows: slice | NDArray[np.bool_]) -> "Vectors":
        return Vectors(self.ids[rows], self.vectors[rows], self.squares[rows])


class Rows:
    """Vectors (N, size) with their ids, of which some are added and some removed.

    Not thread-safe, but what ``now`` returned stays as it was.
    """

    def __init__(self, size: int) -> None:
        self._n = 0
        self._all = _room(0, size)

    def __len__(self) -> int:
        return self._n

    def append(self, ids: Ids, vectors: Floats) -> None:
        """Add vectors (N, D) behind the others."""
        n = self._n + len(ids)
        if n > len(self._all.ids):
            old, self._all = self.now(), _room(n + n // 2, vectors.shape[1])
            self._all.ids[: self._n], self._all.vectors[: self._n] = old.ids, old.vectors
            self._all.squares[: self._n] = old.squares
        rows = slice(self._n, n)
        self._all.ids[rows], self._all.vectors[rows] = ids, vectors
        self._all.squares[rows] = np.square(vectors).sum(1)
        self._n = n

    def remove(self, ids: Sequence[int]) -> None:
        """Drop the vectors of ``ids``; unknown ids do not matter."""
        keep = ~np.isin(self._all.ids[: self._n], ids)
        if not keep.all():
            self._all = self.now().at(keep)
            self._n = len(self._all.ids)

    def now(self) -> Vectors:
        """The rows as they are now."""
        return self._all.at(slice(self._n))


def _room(n: int, size: int) -> Vectors:
    return Vectors(
        np.empty(n, np.int64), np.empty((n, size), np.float32), np.empty(n, np.float32)
    )


def nearest(rows: Vectors, metric: Metric, queries: Floats, k: int) -> list[Ids]:
    """For each query (N, D) the ids of the nearest ``k``, nearest first, ties by id.

    Quick distances in float32 tell which rows could be among the nearest; those are
    measured again in float64, so the answer is exact.
    """
    n = len(rows.ids)
    if n == 0:
        return [rows.ids] * len(queries)
    found = []
    step = max(1, SCORES_AT_ONCE // n)
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        for query, quick in zip(some, _quick(rows, metric, some), strict=True):
            kth = np.partition(quick, min(k, n) - 1)[min(k, n) - 1]
            near = quick <= kth + _rounding(rows, metric, query, float(kth))
            measured = distances(metric, rows.vectors[near], query)
            found.append(rows.ids[near][np.lexsort((rows.ids[near], measured))[:k]])
    return found


def nearest_hits(
    hits: Sequence[Hit], metric: Metric, query: NDArray[Any], k: int
) -> list[Hit]:
    """The ``k`` entries that are nearest to a query (D,), nearest first, ties by id."""
    if not hits:
        return []
    measured = distances(metric, np.stack([hit.vector for hit in hits]), query)
    order = np.lexsort((np.array([hit.id for hit in hits]), measured))[:k]
    return [hits[i] for i in order]


def distances(metric: Metric, vectors: NDArray[Any], query: NDArray[Any]) -> Doubles:
    """Distances (N,) of vectors (N, D) from a query (D,): 1 - cosine, squared Euclidean or
    Manhattan. Equal vectors have equal distances, to the last bit."""
    return _in_blocks(metric, vectors, query.astype(np.float64))


def _in_blocks(metric: Metric, vectors: NDArray[Any], query: NDArray[Any]) -> NDArray[Any]:
    """Distances, computed in the type of the query, some rows at a time."""
    step = max(1, MEASURED_AT_ONCE // len(query))
    measured = np.empty(len(vectors), query.dtype)
    for start in range(0, len(vectors), step):
        some = vectors[start : start + step].astype(query.dtype, copy=False)
        measured[start : start + step] = _distances(metric, some, query)
    return measured


def _distances(metric: Metric, vectors: NDArray[Any], query: NDArray[Any]) -> NDArray[Any]:
    # Row sums and not a matrix product, which rounds a row by its place in the matrix.
    if metric == "euclidean":
        return np.asarray(np.square(vectors - query).sum(1))
    if metric == "manhattan":
        return np.asarray(np.abs(vectors - query).sum(1))
    lengths = np.sqrt(np.square(vectors).sum(1)) * np.sqrt(np.square(query).sum())
    lengths[lengths == 0] = 1.0  # a zero vector has no direction: cosine 0
    return np.asarray(1.0 - (vectors * query).sum(1) / lengths)


def _quick(rows: Vectors, metric: Metric, queries: Floats) -> NDArray[Any]:
    """Distances (n, N), up to what is the same for all rows of one query."""
    if metric == "manhattan":
        return np.stack([_in_blocks(metric, rows.vectors, query) for query in queries])
    if len(queries) <= FEW:
        # The threads of a matrix product take longer to start than one core takes for this.
        product = np.stack([np.einsum("ij,j->i", rows.vectors, query) for query in queries])
    else:
        product = queries @ rows.vectors.T  # (n, N)
    if metric == "euclidean":
        return np.asarray(rows.squares - 2 * product)
    return np.asarray(-product / np.sqrt(np.where(rows.squares == 0, np.inf, rows.squares)))


def _rounding(rows: Vectors, metric: Metric, query: Floats, kth: float) -> float:
    """By how much two quick distances can be wrong together, at most."""
    scale = kth
    if metric != "manhattan":
        square = float(np.square(query, dtype=np.float64).sum())
        longest = float(rows.squares.max())
        scale = math.sqrt(square) if metric == "cosine" else max(longest, square)
    return 4.0 * (len(query) + 4) * 2.0**-24 * scale
