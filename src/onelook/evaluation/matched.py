"""Does this drawing belong to these pen strokes? Matching an item to its own other side."""

import numpy as np
from numpy.typing import NDArray

from onelook.errors import DataError
from onelook.evaluation.scorer import ScoreMatrix
from onelook.metrics import to_numpy


def matched_correct(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    drawers: NDArray[np.int64] | None,
    n_way: int,
    seed: int,
    score_matrix: ScoreMatrix,
) -> NDArray[np.bool_]:
    """Whether each left item finds its own right side among those of its group and drawer.

    The candidates of an item are its own right side and those of up to ``n_way - 1`` other
    classes of the same group, drawn by the same drawer (by anyone where none are named). A
    tie with another candidate is wrong.

    Args:
        left: (N, D) embeddings of the left sides.
        right: (N, D) embeddings of the right sides, row i belonging to row i of ``left``.
        labels: (N,) class of each item.
        groups: (N,) such as alphabets, or None for one group.
        drawers: (N,) or None.
        n_way: Most candidates that a trial has.
        seed: Of the choice of candidates where there are more.
        score_matrix: (N, D), (M, D) -> (N, M), larger when more alike.

    Returns:
        (N,) bool.

    Raises:
        DataError: If there are no items.
    """
    if not len(left):
        raise DataError("no items to match: the held-out part is empty")
    group = np.zeros_like(labels) if groups is None else groups
    drawer = np.zeros_like(labels) if drawers is None else drawers
    rng = np.random.default_rng(seed)
    correct = np.zeros(len(left), dtype=bool)
    for group_key, drawer_key in np.unique(np.stack([group, drawer], axis=1), axis=0):
        members = np.flatnonzero((group == group_key) & (drawer == drawer_key))
        scores = to_numpy(score_matrix(left[members], right[members]))
        for row, member in enumerate(members):
            others = np.flatnonzero(labels[members] != labels[member])
            # One candidate a class, so that two drawings of a class never compete.
            _, first = np.unique(labels[members][others], return_index=True)
            chosen = rng.permutation(others[first])[: n_way - 1]
            rival = scores[row, chosen].max(initial=-np.inf)
            correct[member] = scores[row, row] > rival
    return correct
