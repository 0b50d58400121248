"""Matching: which right side belongs to this left side, such as strokes to a drawing?"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import Dataset
from onelook.errors import DataError
from onelook.evaluation.oneshot import OneShotResult, accuracy_by_group, credits_of
from onelook.evaluation.scorer import ScoreMatrix, Scorer
from onelook.metrics import to_numpy, wilson_interval

Indices = NDArray[np.int64]


def matching_trials(
    scorer: Scorer, dataset: Dataset, n_way: int = 20, protocol: str = ""
) -> OneShotResult:
    """Which of up to ``n_way`` right sides belongs to this left side?"""
    if dataset.right_paths is None:
        raise DataError(f"{dataset.name}: its items have no right side to match")
    found = match_sides(
        scorer.embed(dataset.paths, "left"),
        scorer.embed(dataset.right_paths, "right"),
        dataset.labels,
        dataset.groups,
        dataset.drawers,
        n_way=n_way,
        seed=0,
        score_matrix=scorer.score_matrix,
    )
    correct, items, groups = found.credits, found.items, dataset.groups
    return OneShotResult(
        protocol=protocol or f"both sides of {dataset.name} matched, same drawer and group",
        model=scorer.name,
        accuracy=float(correct.mean()),
        interval=wilson_interval(float(correct.sum()), len(correct)),
        interval_kind="Wilson, over items",
        n_way=int(found.n_candidates.max()),
        n_shot=1,
        n_trials=len(correct),
        n_classes=len(np.unique(dataset.labels[items])),
        chance=float(np.mean(1 / found.n_candidates)),
        seed=0,
        per_group={}
        if groups is None
        else accuracy_by_group(correct, groups[items], dataset),
    )


class Matches(NamedTuple):
    """How M left items were matched."""

    credits: NDArray[np.float64]  # (M,) 1 where the own right side is best, less in ties
    items: Indices  # (M,) the items asked
    n_candidates: Indices  # (M,)


def match_sides(
    left: Any,
    right: Any,
    labels: Indices,
    groups: Indices | None,
    drawers: Indices | None,
    *,
    n_way: int,
    seed: int,
    score_matrix: ScoreMatrix,
) -> Matches:
    """Match left (N, D) to right sides (N, D) of the same items within group and drawer.

    One random item is asked of each class, group and drawer. Its candidates are its own
    right side and those of up to ``n_way`` - 1 other items asked there.
    """
    generator = np.random.default_rng(seed)
    columns = [np.zeros_like(labels) if c is None else c for c in (groups, drawers)]
    _, cells = np.unique(np.stack(columns), axis=1, return_inverse=True)
    found = []
    for cell in range(cells.max(initial=-1) + 1):
        pool = generator.permutation(np.flatnonzero(cells == cell))
        items = pool[np.unique(labels[pool], return_index=True)[1]]
        if len(items) < 2:
            continue
        scores = to_numpy(score_matrix(left[items], right[items]))
        lots = generator.random(scores.shape)
        np.fill_diagonal(lots, -1.0)  # the own right side always takes part, in column 0
        candidates = lots.argsort(axis=1)[:, :n_way]
        answers = np.zeros(len(items), np.int64)
        credits = credits_of(np.take_along_axis(scores, candidates, axis=1), answers)
        found.append((credits, items, np.full(len(items), candidates.shape[1])))
    if not found:
        raise DataError("nothing to match: no two classes share a group and a drawer")
    return Matches(*(np.concatenate(column) for column in zip(*found, strict=True)))
