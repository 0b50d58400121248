"""What every protocol needs of a model or a baseline, and functions that score pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelook.metrics import to_numpy

# Bytes of embeddings handed to a scorer at once.
CHUNK_BYTES = 2**26

ScoreMatrix = Callable[[Any, Any], Any]


class Scorer(Protocol):
    """A Verifier or a classical baseline.

    ``embed`` returns what ``score`` takes, in an array of N rows: vectors, or objects such
    as point sets. A scorer whose two sides share one encoder may say so with
    ``shared = True``; an item that occurs on both sides is then embedded once.
    """

    @property
    def name(self) -> str:
        """What people call it."""

    def embed(self, addresses: Sequence[str], side: str = "left") -> NDArray[Any]:
        """(N, ...) for N addresses, of the side "left" or "right"."""

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """(N,) scores of N pairs, larger = more alike."""

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """(N, M) scores of all pairs."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A scorer whose embeddings (N, 1) are row numbers of a matrix of scores (N, N)."""

    found: NDArray[Any]
    name: str = "scores"

    def embed(self, addresses: object, side: str = "left") -> NDArray[np.float32]:
        return np.arange(len(self.found), dtype=np.float32)[:, None]

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        scores: NDArray[Any] = self.found[_numbers(left), _numbers(right)]
        return scores

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        scores: NDArray[Any] = self.found[np.ix_(_numbers(left), _numbers(right))]
        return scores


def _numbers(embeddings: NDArray[Any]) -> NDArray[np.int64]:
    return embeddings[:, 0].astype(np.int64)


def is_shared(scorer: Scorer) -> bool:
    """Whether the left and the right side have one encoder."""
    return bool(getattr(scorer, "shared", False))


def score_pairs(
    scorer: Scorer, left: Sequence[str], right: Sequence[str]
) -> NDArray[np.float64]:
    """(N,) scores of pairs of addresses; each distinct one is embedded once for a side."""
    if not len(left):
        raise ValueError("expected at least one pair, got 0")
    if is_shared(scorer):
        addresses, rows = np.unique([*left, *right], return_inverse=True)
        embeddings = scorer.embed(addresses.tolist())
        return score_rows(scorer, embeddings, embeddings, *np.split(rows, 2))
    lefts, left_rows = np.unique(list(left), return_inverse=True)
    rights, right_rows = np.unique(list(right), return_inverse=True)
    sides = scorer.embed(lefts.tolist(), "left"), scorer.embed(rights.tolist(), "right")
    return score_rows(scorer, *sides, left_rows, right_rows)


def embed_both(scorer: Scorer, addresses: Sequence[str]) -> tuple[Any, Any]:
    """Left and right embeddings of the same N addresses."""
    left = scorer.embed(addresses, "left")
    return left, left if is_shared(scorer) else scorer.embed(addresses, "right")


def score_rows(
    scorer: Scorer,
    left_embeddings: NDArray[Any],
    right_embeddings: NDArray[Any],
    left_rows: NDArray[np.int64],
    right_rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(N,) scores of pairs of rows of embeddings, computed in chunks of bounded memory."""
    row_bytes = max(1, left_embeddings[:1].nbytes)
    step = max(256, min(CHUNK_BYTES // row_bytes, 2**16))
    parts = [
        to_numpy(
            scorer.score(
                left_embeddings[left_rows[start : start + step]],
                right_embeddings[right_rows[start : start + step]],
            )
        )
        for start in range(0, len(left_rows), step)
    ]
    return np.concatenate(parts).astype(np.float64)
