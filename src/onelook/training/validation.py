"""Validation on held-out classes: the figure that chooses the epoch, and scored pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.errors import TrainingError
from onelook.evaluation.matching import match_sides
from onelook.evaluation.oneshot import within_group_accuracy
from onelook.evaluation.pairing import sample_pairs
from onelook.evaluation.scorer import score_rows
from onelook.metrics import pearson, roc_auc
from onelook.recipe import ValidationSettings
from onelook.training.data import HeldOut
from onelook.verifier import Verifier

MOST_PAIRS = 100_000
FIGURE_NAMES = {
    "one-shot": "held-out one-shot accuracy",
    "verification": "held-out AUC",
    "pearson": "held-out Pearson",
}


@dataclass(frozen=True, eq=False)
class HeldOutPairs:
    """Pairs of held-out items: (M,) scores, truth, and the items they join."""

    scores: NDArray[np.float64]
    is_same: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


def embed_held_out(
    verifier: Verifier, held_out: HeldOut
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Left and right embeddings (N, D) of held-out items, one array for one encoder."""
    left = right = verifier.embed_store(held_out.left.store, held_out.left.rows, "left")
    if held_out.right is not held_out.left:
        right = verifier.embed_store(held_out.right.store, held_out.right.rows, "right")
    # A step too large may leave finite weights whose distances are not.
    with np.errstate(over="ignore", invalid="ignore"):
        if not all(
            np.isfinite(np.square(side).sum(axis=1)).all() for side in (left, right)
        ):
            raise TrainingError(
                "the training diverged: embeddings of held-out items are too large for "
                "float32 or not a number; lower optimizer.learning_rate, or set "
                "optimizer.clip_norm"
            )
    return left, right


def held_out_pairs(
    verifier: Verifier,
    held_out: HeldOut,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    seed: int,
) -> HeldOutPairs:
    """A random sample of pairs of held-out items, half of them same pairs if possible."""
    if held_out.pair_left is not None and held_out.pair_right is not None:
        assert held_out.is_same is not None
        left_items, right_items = held_out.pair_left, held_out.pair_right
        is_same = held_out.is_same
    else:
        left_items, right_items = sample_pairs(held_out.labels, MOST_PAIRS, seed)
        is_same = held_out.labels[left_items] == held_out.labels[right_items]
    scores = score_rows(verifier, left, right, left_items, right_items)
    return HeldOutPairs(scores, is_same, left_items, right_items)


def validate(
    verifier: Verifier, held_out: HeldOut, settings: ValidationSettings, seed: int
) -> float:
    """The validation figure, larger when better (a fraction or a correlation)."""
    left, right = embed_held_out(verifier, held_out)
    if settings.figure == "pearson":
        assert held_out.pair_left is not None and held_out.pair_right is not None
        assert held_out.targets is not None
        scores = verifier.score(left[held_out.pair_left], right[held_out.pair_right])
        return pearson(scores, held_out.targets)
    if settings.figure == "verification":
        pairs = held_out_pairs(verifier, held_out, left, right, seed)
        return roc_auc(pairs.scores, pairs.is_same)
    described = held_out.labels, held_out.groups, held_out.drawers
    how: Any = {"n_way": settings.n_way, "seed": seed}
    how["score_matrix"] = verifier.score_matrix
    if right is not left:
        return float(match_sides(left, right, *described, **how).credits.mean())
    return within_group_accuracy(left, *described, n_trials=settings.n_trials, **how)
