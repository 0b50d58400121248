"""Vectors in memory, and exactly the nearest of them: one matrix product, then a check."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelook.gallery.store import Metric

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
BLOCK_BYTES = 8 << 20
SCORES_AT_ONCE = 1 << 24  # entries of a matrix of distances: 64 MB
GROUP = 64
FEW = 4  # queries
RESCORED_AT_ONCE = 4096


class Part(NamedTuple):
    """Rows that do not change any more.

    Ids (N,), vectors (N, D), their squared lengths (N,), and -1 / length (N,), 0 for a zero
    vector.
    """

    ids: Ids
    vectors: Floats
    squares: Floats
    turned: Floats


class Rows:
    """Vectors with their ids, in blocks: growing copies nothing, removing copies a block.

    Not safe for threads by itself; what ``parts`` gave stays as it was.

    Args:
        size: D.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows_per_block = max(256, BLOCK_BYTES // (4 * size))
        self._blocks: list[Part] = []
        self._filled: list[int] = []

    def __len__(self) -> int:
        return sum(self._filled)

    def append(self, ids: Ids, vectors: Floats) -> None:
        """Add vectors (N, D) behind those that are there."""
        while len(ids):
            if not self._blocks or self._filled[-1] == self.rows_per_block:
                self._blocks.append(self._empty())
                self._filled.append(0)
            start = self._filled[-1]
            stop = min(self.rows_per_block, start + len(ids))
            n, block = stop - start, self._blocks[-1]
            block.ids[start:stop] = ids[:n]
            block.vectors[start:stop] = vectors[:n]
            squares = np.square(vectors[:n]).sum(1)
            block.squares[start:stop] = squares
            lengths = np.sqrt(squares)
            block.turned[start:stop] = -1 / np.where(lengths == 0, np.inf, lengths)
            self._filled[-1] = stop
            ids, vectors = ids[n:], vectors[n:]

    def remove(self, ids: Sequence[int]) -> None:
        """Drop the vectors of ``ids``; ids that are not there do not matter."""
        for at, part in enumerate(self.parts()):
            keep = ~np.isin(part.ids, ids)
            if not keep.all():
                fresh, n = self._empty(), int(keep.sum())
                fresh.ids[:n] = part.ids[keep]
                fresh.vectors[:n] = part.vectors[keep]
                fresh.squares[:n] = part.squares[keep]
                fresh.turned[:n] = part.turned[keep]
                self._blocks[at], self._filled[at] = fresh, n

    def parts(self) -> list[Part]:
        """What is there now."""
        return [
            Part(block.ids[:n], block.vectors[:n], block.squares[:n], block.turned[:n])
            for block, n in zip(self._blocks, self._filled, strict=True)
        ]

    def _empty(self) -> Part:
        n = self.rows_per_block
        return Part(
            np.empty(n, np.int64),
            np.empty((n, self.size), np.float32),
            np.empty(n, np.float32),
            np.empty(n, np.float32),
        )


def nearest(
    parts: Sequence[Part], metric: Metric, queries: Floats, k: int
) -> list[tuple[Ids, NDArray[np.float64]]]:
    """For each query (N, D) the ids and distances of the nearest ``k``, nearest first.

    Quick distances in float32 say which rows could be among the nearest; those are measured
    again in float64, so that the answer is exact, and ties stand in the order of the ids.
    """
    n = sum(len(part.ids) for part in parts)
    if n == 0:
        return [(np.empty(0, np.int64), np.empty(0))] * len(queries)
    ids = np.concatenate([part.ids for part in parts])
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])
    found = []
    step = max(1, SCORES_AT_ONCE // n)
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        quick = np.concatenate([_quick(part, metric, some) for part in parts], axis=1)
        longest = max(float(part.squares.max(initial=0.0)) for part in parts)
        for query, row in zip(some, quick, strict=True):
            kth = _kth_smallest(row, min(k, n))
            slack = _rounding(metric, query, longest, kth)
            rows = np.flatnonzero(row <= kth + slack)
            vectors = _gather(parts, starts, rows)
            found.append(first(ids[rows], distances(metric, vectors, query), k))
    return found


def first(
    ids: Ids, measured: NDArray[np.float64], k: int
) -> tuple[Ids, NDArray[np.float64]]:
    """The ``k`` smallest distances with their ids, ties in the order of the ids."""
    order = np.lexsort((ids, measured))[:k]
    return ids[order], measured[order]


def distances(
    metric: Metric, vectors: NDArray[Any], query: NDArray[Any]
) -> NDArray[np.float64]:
    """Distances (N,) of vectors (N, D) from a query (D,): 1 - cosine, squared Euclidean or
    Manhattan. Equal vectors get equal distances, to the last bit."""
    parts = [
        _distances(metric, vectors[at : at + RESCORED_AT_ONCE].astype(np.float64), query)
        for at in range(0, len(vectors), RESCORED_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _distances(
    metric: Metric, vectors: NDArray[np.float64], query: NDArray[Any]
) -> NDArray[np.float64]:
    query = query.astype(np.float64)
    measured: NDArray[np.float64]
    if metric == "euclidean":
        measured = np.square(vectors - query).sum(1)
        return measured
    if metric == "manhattan":
        measured = np.abs(vectors - query).sum(1)
        return measured
    # Row sums and not a matrix product: that rounds a row by its place in the matrix.
    lengths = np.sqrt(np.square(vectors).sum(1)) * np.sqrt(np.square(query).sum())
    lengths[lengths == 0] = 1.0  # a zero vector has no direction: cosine 0
    measured = 1.0 - (vectors * query).sum(1) / lengths
    return measured


def _quick(part: Part, metric: Metric, queries: Floats) -> Floats:
    """Distances (n, N) in float32, up to what is the same for all rows of one query."""
    if metric == "manhattan":
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(queries, part.vectors, "cityblock"), np.float32)
    product: Floats
    if len(queries) <= FEW:
        # The threads of a matrix product take longer to meet than one core takes for this.
        product = np.stack([np.einsum("ij,j->i", part.vectors, query) for query in queries])
    else:
        product = queries @ part.vectors.T  # (n, N)
    if metric == "euclidean":
        return part.squares - 2 * product
    product *= part.turned
    return product


def _kth_smallest(row: Floats, k: int) -> float:
    """The k-th smallest number (k from 1), without a partition of the whole row."""
    groups = len(row) // GROUP
    if groups > k:
        # k groups have a member each that is at most the k-th smallest of the minima.
        minima = row[: groups * GROUP].reshape(groups, GROUP).min(1)
        row = row[row <= np.partition(minima, k - 1)[k - 1]]
    return float(np.partition(row, k - 1)[k - 1])


def _rounding(metric: Metric, query: Floats, longest: float, kth: float) -> float:
    """How much two quick distances can be off together, at the very most."""
    ulps = 4.0 * (len(query) + 4) * 2.0**-24
    square = float(np.square(query, dtype=np.float64).sum())
    if metric == "euclidean":
        return ulps * max(longest, square)
    if metric == "manhattan":
        return ulps * kth
    return ulps * float(
        np.sqrt(square)
    )  # the quick cosine is not divided by the query's length


def _gather(parts: Sequence[Part], starts: NDArray[Any], rows: NDArray[Any]) -> Floats:
    """Vectors of rows (ascending) of all parts together."""
    cuts = np.searchsorted(rows, starts)
    return np.concatenate(
        [
            part.vectors[rows[low:high] - start]
            for part, start, low, high in zip(
                parts, starts[:-1], cuts[:-1], cuts[1:], strict=True
            )
        ]
    )
