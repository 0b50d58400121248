"""Sequences: items of differing lengths, padded to the longest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sequences(NamedTuple):
    """N sequences, padded with zeros to the longest.

    ``values`` is (N, T) int64 tokens (0 = padding, 1 = unknown) or (N, T, 3) float32
    strokes; ``lengths`` is (N,) int64, each at least 1.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]


def padded(loaded: "Sequences | Sequence[NDArray[Any]]") -> Sequences:
    """Sequences of arrays (T,) or (T, 3); what is padded already stays."""
    if isinstance(loaded, Sequences):
        return loaded
    lengths = np.array([len(array) for array in loaded], np.int64)
    if not len(loaded):
        return Sequences(np.zeros((0, 0), np.int64), lengths)
    values = np.zeros((len(loaded), lengths.max(), *loaded[0].shape[1:]), loaded[0].dtype)
    for row, array in enumerate(loaded):
        values[row, : len(array)] = array
    return Sequences(values, lengths)
