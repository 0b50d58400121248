"""Fit a decision on scores of held-out classes, with intervals and a cross-check."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.galleries import (
    VOTES,
    GallerySimulation,
    fit_votes,
    simulate_galleries,
)
from onelook.calibration.pairs import (
    MOST_DRAWS,
    ClassPairs,
    folds_of,
    score_drawn_pairs,
    useful_groups,
)
from onelook.calibration.places import beside_cohorts
from onelook.decision import FALSE_ACCEPTS_NEEDED, Decision, Vote, fit_decision
from onelook.evaluation.scorer import Scorer
from onelook.metrics import (
    CLASSES_NEEDED,
    Interval,
    Reliability,
    RocCurve,
    bootstrap_interval,
    far_at,
    frr_at,
    reliability,
)
from onelook.runtime.scores import Scores

MOST_DIFFERENT = 2_000_000  # drawn, for the smallest rates
N_RESAMPLES = 200

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CrossCheck:
    """Errors of decisions on classes of the calibration that did not fit them.

    The classes (or whole groups, if there are three or more) are dealt into folds; each
    fold is judged by a decision fitted on the others.
    """

    far: float
    frr: float
    reliability: Reliability
    n_folds: int

    def figures(self) -> dict[str, float]:
        """Figures for a model's card."""
        return {
            "far": round(self.far, 6),
            "frr": round(self.frr, 6),
            "calibration_error": round(self.reliability.error, 6),
        }


@dataclass(frozen=True, eq=False)
class Fitted:
    """A decision, the pairs that fitted it, and its check if there are enough classes."""

    decision: Decision
    drawn: ClassPairs
    check: CrossCheck | None

    def figures(self) -> dict[str, float]:
        """Figures for a model's card; none where the folds would be too small."""
        return {} if self.check is None else self.check.figures()


def fit_items(
    scorer: Scorer,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None = None,
    *,
    far: float = 0.01,
    prior: float = 0.5,
    seed: int = 0,
    strict: bool = False,
    fewest_classes: int = CLASSES_NEEDED,
    votes: Sequence[Vote] = VOTES,
) -> Fitted:
    """A decision for pairs and galleries from embeddings (N, D) of labelled items.

    Where items have groups, such as alphabets, a different pair is two classes of one
    group: a threshold must hold against such look-alikes, and its rate then does not depend
    on the number of groups. Where both sides have one encoder, the decision gets others for
    scores beside cohorts. ``strict`` refuses a ``far`` that the items cannot support,
    instead of taking the smallest that they can. Of fewer than 10 classes there are no
    intervals and no thresholds for galleries. ``votes`` are those that several images of
    an identity may have.
    """
    groups = useful_groups(labels, groups)
    items = (scorer, left, right, labels, groups)
    drawn = score_drawn_pairs(*items, seed=seed, n_different=draws_for(far))
    folds = folds_of(labels, groups, seed)
    fitted = fit_drawn(
        drawn,
        far=far,
        prior=prior,
        seed=seed,
        strict=strict,
        folds=folds,
        fewest_classes=fewest_classes,
    )
    decision = with_galleries(fitted.decision, *items, votes=votes, seed=seed)
    scores = getattr(scorer, "scores", None)
    if scores is not None and left is right:
        decision = fit_cohorts(
            *(decision, scores, left, labels, groups), far=far, prior=prior, seed=seed
        )
    return dataclasses.replace(fitted, decision=decision)


def fit_cohorts(
    decision: Decision,
    scores: Scores,
    embeddings: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None,
    *,
    far: float,
    prior: float,
    seed: int,
) -> Decision:
    """The decision with those for scores beside cohorts, from simulated places."""
    groups = useful_groups(labels, groups)
    found = []
    for place in beside_cohorts(scores, embeddings, labels, groups, far=far, seed=seed):
        fitted = fit_drawn(place.drawn, far=far, prior=prior, seed=seed).decision
        vote, rows = fit_votes(place.simulate, place.n_items)
        found.append(
            dataclasses.replace(
                fitted,
                kind=place.kind,
                cohort_size=place.size,
                identify=rows,
                vote=vote,
                curves=None,  # few look at them
            )
        )
    return dataclasses.replace(decision, cohorts=tuple(found))


def draws_for(far: float) -> int:
    """Different pairs to draw for a rate: three times its need, since draws repeat."""
    return max(MOST_DRAWS, min(MOST_DIFFERENT, round(3 * FALSE_ACCEPTS_NEEDED / far)))


def fit_drawn(
    drawn: ClassPairs,
    *,
    far: float = 0.01,
    prior: float = 0.5,
    seed: int = 0,
    strict: bool = False,
    folds: Indices | None = None,
    fewest_classes: int = CLASSES_NEEDED,
) -> Fitted:
    """A decision for pairs alone, with the intervals of its threshold and rates.

    ``folds`` (C,) are those of the classes for the cross-check; no check by default.
    """
    decision = fit_decision(
        drawn.scores,
        drawn.is_same,
        far,
        prior,
        n_classes=drawn.n_classes,
        n_same=drawn.n_same,
        n_different=drawn.n_different,
        strict=strict,
        fewest_classes=fewest_classes,
    )
    decision = dataclasses.replace(
        decision, pairs=drawn.pairs, intervals=_intervals(drawn, decision, seed)
    )
    check = None if folds is None else _cross_check(drawn, folds, decision.far, prior)
    return Fitted(decision, drawn, check)


def with_galleries(
    decision: Decision,
    scorer: Scorer,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None = None,
    *,
    votes: Sequence[Vote] = VOTES,
    seed: int = 0,
) -> Decision:
    """The decision with thresholds for galleries; other arguments as for ``fit_items``."""

    def simulate(n_images: int, vote: Vote) -> list[GallerySimulation]:
        if (np.bincount(labels) >= n_images).sum() < CLASSES_NEEDED:
            return []
        items = (scorer.score_matrix, left, right, labels, groups)
        return [simulate_galleries(*items, n_images=n_images, vote=vote, seed=seed)]

    vote, rows = fit_votes(simulate, len(labels), votes)
    return dataclasses.replace(decision, vote=vote, identify=rows)


def _cross_check(
    drawn: ClassPairs, folds: Indices, far: float, prior: float
) -> CrossCheck | None:
    """Every fold judged by a decision of the others; None if a fold is too small."""
    accepted, probability, is_same = [], [], []
    numbers = np.unique(folds)
    for fold in numbers:
        left, right = folds[drawn.left] == fold, folds[drawn.right] == fold
        rest, judged = drawn.subset(~left & ~right), drawn.subset(left & right)
        if rest.n_classes < CLASSES_NEEDED or not (~judged.is_same).any():
            return None
        decision = fit_decision(
            rest.scores, rest.is_same, far, prior, n_classes=rest.n_classes
        )
        accepted.append(judged.scores >= decision.threshold)
        probability.append(decision.probability(judged.scores))
        is_same.append(judged.is_same)
    truth, passed = np.concatenate(is_same), np.concatenate(accepted).astype(float)
    return CrossCheck(
        far=far_at(passed, truth, 1.0),
        frr=frr_at(passed, truth, 1.0),
        reliability=reliability(np.concatenate(probability), truth, prior),
        n_folds=len(numbers),
    )


def _intervals(drawn: ClassPairs, decision: Decision, seed: int) -> dict[str, Interval]:
    """95% intervals of the threshold for the rate, and of both rates at the threshold."""
    if drawn.n_classes < CLASSES_NEEDED:
        return {}

    def figures(curve: RocCurve) -> tuple[float, float, float]:
        chosen = int(np.searchsorted(curve.far, decision.far + 1e-12, side="right")) - 1
        threshold = float(curve.thresholds[max(chosen, 1)])
        return threshold, *curve.errors_at(decision.threshold)

    ends = bootstrap_interval(
        figures,
        drawn.scores,
        drawn.is_same,
        drawn.left,
        drawn.right,
        seed=seed,
        n_resamples=N_RESAMPLES,
    )
    return dict(zip(("threshold", "far", "frr"), ends, strict=True))
