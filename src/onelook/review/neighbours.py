"""The nearest neighbours of every image among all others, in memory that grows with N."""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelook.gallery.exact import Rows, nearest
from onelook.gallery.index import METRICS, new_index, prepared
from onelook.gallery.store import Header
from onelook.progress import progress_bar
from onelook.verifier import Verifier

K = 20
EXACT_UP_TO = 20_000  # images; of more, an index finds nearly all neighbours
AT_ONCE = 1024

Indices = NDArray[np.int64]


class Neighbours(NamedTuple):
    """For each of N images the nearest others, best first."""

    rows: Indices  # (N, K)
    scores: NDArray[np.float32]  # (N, K)


def neighbours(
    verifier: Verifier, embeddings: NDArray[np.float32], progress: bool = True
) -> Neighbours:
    """The K nearest others of N images by their scores; fewer of a small folder."""
    n = len(embeddings)
    k = min(K, n - 1)
    search = (
        _exact(verifier, embeddings) if n <= EXACT_UP_TO else _index(verifier, embeddings)
    )
    rows, scores = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    with progress_bar("looking for neighbours", n, shown=progress) as advance:
        for start in range(0, n, AT_ONCE):
            mine = np.arange(start, min(start + AT_ONCE, n))
            found = _without_itself(search(embeddings[mine], k + 1), mine, k)
            near = verifier.score(
                np.repeat(embeddings[mine], k, axis=0), embeddings[found.ravel()]
            ).reshape(found.shape)
            order = np.argsort(-near, axis=1, kind="stable")
            rows[mine] = np.take_along_axis(found, order, 1)
            scores[mine] = np.take_along_axis(near, order, 1)
            advance(len(mine))
    return Neighbours(rows, scores)


def edges(near: Neighbours, threshold: float, mutual: int = 0) -> list[tuple[int, int]]:
    """Pairs of rows that are neighbours, each pair once, the best first.

    Each must be among the ``mutual`` nearest of the other; 0: one of the other's.
    """
    rows, scores = near
    if mutual:
        rows, scores = rows[:, :mutual], scores[:, :mutual]
    lefts, columns = np.nonzero(scores >= threshold)
    rights, found = rows[lefts, columns], scores[lefts, columns]
    is_mutual = (rows[rights] == lefts[:, None]).any(1)
    kept = (lefts < rights) & is_mutual if mutual else (lefts < rights) | ~is_mutual
    order = np.argsort(-found[kept], kind="stable")
    return list(zip(lefts[kept][order].tolist(), rights[kept][order].tolist(), strict=True))


def without_copies(near: Neighbours, copies: Collection[int]) -> Neighbours:
    """The neighbours without some rows, which would keep others out of the first few."""
    is_copy = np.zeros(len(near.rows), bool)
    is_copy[list(copies)] = True
    gone = is_copy[near.rows] | is_copy[:, None]
    scores = np.where(gone, np.float32(-np.inf), near.scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    return Neighbours(
        np.take_along_axis(near.rows, order, 1), np.take_along_axis(scores, order, 1)
    )


def _exact(verifier: Verifier, embeddings: NDArray[np.float32]) -> Any:
    rows = Rows(embeddings.shape[1])
    rows.append(np.arange(len(embeddings)), embeddings)
    all_of_them, near = rows.now(), verifier.scores.near
    return lambda queries, k: np.stack(nearest(all_of_them, near, queries, k))


def _index(verifier: Verifier, embeddings: NDArray[np.float32]) -> Any:
    near = verifier.scores.near
    if near not in METRICS:
        return _exact(verifier, embeddings)
    index = new_index(
        Header(verifier.fingerprint, verifier.name, embeddings.shape[1], near)
    )
    index.add(np.arange(len(embeddings), dtype=np.uint64), prepared(embeddings, near))
    return lambda queries, k: index.search(prepared(queries, near), k).keys.astype(np.int64)


def _without_itself(found: Indices, mine: Indices, k: int) -> Indices:
    """(n, k) of (n, k + 1) neighbours: without the image, or else without the last."""
    is_itself = found == mine[:, None]
    is_itself[~is_itself.any(1), -1] = True
    others: Indices = found[~is_itself].reshape(len(found), k)
    return others
