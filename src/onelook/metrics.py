"""Metrics: arrays in, numbers out. ROC, EER, TAR at FAR, intervals. Knows no models.

Pairs come as ``scores`` (N,) float, larger = more alike, and ``is_same`` (N,) bool. A pair
is accepted when ``score >= threshold``. Every rate is a fraction. FAR is the share of
different pairs accepted, TAR the share of same pairs accepted, FRR = 1 - TAR.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

# A FAR is measured only if chance alone would let this many different pairs through.
FALSE_ACCEPTS_NEEDED = 10
CLASSES_NEEDED = 10
LEVEL = 0.95  # of every interval
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


class RocCurve(NamedTuple):
    """K points of a ROC curve, from "accept nothing" to "accept everything"."""

    far: Floats  # (K,) rising from 0 to 1
    tar: Floats  # (K,) rising from 0 to 1
    thresholds: Floats  # (K,) falling; the first is infinite

    @property
    def auc(self) -> float:
        """The area under it."""
        return float(np.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """The rate at which false accepts and false rejects are equal, between points."""
        excess = 1.0 - self.tar - self.far  # FRR - FAR falls from 1 to -1
        k = int(np.flatnonzero(excess <= 0)[0])
        share = excess[k - 1] / (excess[k - 1] - excess[k])
        return float(self.far[k - 1] + share * (self.far[k] - self.far[k - 1]))

    def best_threshold(self, share: float = 0.5) -> float:
        """The threshold of the highest accuracy if ``share`` of the pairs were the same.

        A sample may have far more different pairs than same ones; its own accuracy is then
        highest when almost nothing is accepted.
        """
        gain = share * self.tar - (1 - share) * self.far
        # Equal gains can differ by rounding.
        best = np.flatnonzero(gain >= gain.max() - 1e-12)
        return _threshold_after(self, int(best[len(best) // 2]))

    def tar_at(self, far: float) -> float:
        """The largest TAR whose FAR does not exceed ``far``."""
        return float(self.tar[_last_at_most(self.far, far)])

    def errors_at(self, threshold: float) -> tuple[float, float]:
        """FAR and FRR at a threshold."""
        at = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return float(self.far[at]), float(1 - self.tar[at])


def roc_curve(scores: ArrayLike, is_same: ArrayLike) -> RocCurve:
    """FAR and TAR at every distinct score; equal scores are accepted together.

    Args:
        scores: (N,) finite, larger = more alike.
        is_same: (N,) bool.

    Raises:
        ValueError: If a score is not finite, or same or different pairs are missing.

    Example:
        >>> roc_curve([0.9, 0.8, 0.8, 0.1], [True, True, False, False]).tar
        array([0. , 0.5, 1. , 1. ])
    """
    ranked = _Ranked(*_checked(scores, is_same))
    return ranked.curve(np.ones(len(ranked.order)))


class _Ranked:
    """Pairs sorted once, best first, for many ROC curves with other weights."""

    def __init__(self, scores: Floats, is_same: NDArray[np.bool_]) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.is_same = is_same[self.order]
        self.last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # of equal scores
        self.thresholds = np.append(np.inf, ranked[self.last])

    def curve(self, weights: Floats) -> RocCurve:
        """The curve when pair i counts ``weights[i]`` times."""
        counts = weights[self.order]
        accepts = np.cumsum(counts)[self.last]
        true_accepts = np.cumsum(counts * self.is_same)[self.last]
        n_same, n_different = true_accepts[-1], accepts[-1] - true_accepts[-1]
        return RocCurve(
            far=np.append(0.0, (accepts - true_accepts) / n_different),
            tar=np.append(0.0, true_accepts / n_same),
            thresholds=self.thresholds,
        )


def roc_auc(scores: ArrayLike, is_same: ArrayLike) -> float:
    """Chance that a same pair scores above a different pair; a tie counts half.

    Example:
        >>> roc_auc([0.9, 0.2, 0.5, 0.1], [True, True, False, False])
        0.75
    """
    return roc_curve(scores, is_same).auc


def best_threshold(scores: ArrayLike, is_same: ArrayLike) -> float:
    """The threshold of the highest accuracy, halfway between the scores around it.

    Choose it on one split and report ``accuracy_at`` it on another.
    """
    share = float(np.mean(to_numpy(is_same)))
    return roc_curve(scores, is_same).best_threshold(share)


def accuracy_at(scores: ArrayLike, is_same: ArrayLike, threshold: float) -> float:
    """Share of pairs that ``score >= threshold`` decides correctly."""
    scores, is_same = _columns(scores, is_same)
    if not len(scores):
        raise ValueError("accuracy needs at least one pair, got 0")
    return float(np.mean((scores >= threshold) == is_same))


def far_at(scores: ArrayLike, is_same: ArrayLike, threshold: float) -> float:
    """Share of different pairs that are accepted at ``threshold``."""
    scores, is_same = _checked(scores, is_same)
    return float(np.mean(scores[~is_same] >= threshold))


def frr_at(scores: ArrayLike, is_same: ArrayLike, threshold: float) -> float:
    """Share of same pairs that are rejected at ``threshold``."""
    scores, is_same = _checked(scores, is_same)
    return float(np.mean(scores[is_same] < threshold))


def threshold_at_far(scores: ArrayLike, is_same: ArrayLike, far: float) -> float:
    """The lowest threshold at which at most ``far`` of the different pairs are accepted.

    Raises:
        ValueError: If there are fewer than 10 / far different pairs.
    """
    scores, is_same = _checked(scores, is_same)
    check_far(far, int((~is_same).sum()))
    curve = roc_curve(scores, is_same)
    return _threshold_after(curve, _last_at_most(curve.far, far))


def threshold_at_frr(scores: ArrayLike, is_same: ArrayLike, frr: float) -> float:
    """The highest threshold at which at most ``frr`` of the same pairs are rejected."""
    curve = roc_curve(scores, is_same)
    return _threshold_after(curve, int(np.flatnonzero(1.0 - curve.tar <= frr + 1e-12)[0]))


def check_far(far: float, n_different: int, needed: int = FALSE_ACCEPTS_NEEDED) -> None:
    """Refuse a false-accept rate that ``n_different`` different pairs cannot support.

    Raises:
        ValueError: If ``n_different < needed / far``; it names the smallest possible rate.
    """
    if not 0 < far < 1:
        raise ValueError(f"far must lie between 0 and 1, got {far}")
    if n_different < needed / far - 1e-6:
        smallest = needed / max(n_different, 1)
        offer = (
            f"the smallest rate they support is {smallest:.2g}"
            if smallest < 1
            else "they support no rate"
        )
        raise ValueError(
            f"FAR {far:g} needs at least {math.ceil(needed / far - 1e-6)} different pairs, "
            f"got {n_different}; {offer}"
        )


def wilson_interval(successes: float, n_trials: int) -> Interval:
    """Wilson score interval, at 95%, of a rate counted over independent trials.

    Example:
        >>> low, high = wilson_interval(394, 400)
        >>> f"{low:.3f} {high:.3f}"
        '0.968 0.993'
    """
    if n_trials <= 0 or not 0 <= successes <= n_trials:
        raise ValueError(
            f"expected 0 <= successes <= n_trials, got {successes} of {n_trials}"
        )
    rate = successes / n_trials
    middle = rate + Z * Z / (2 * n_trials)
    half = Z * math.sqrt(rate * (1 - rate) / n_trials + (Z / (2 * n_trials)) ** 2)
    scale = 1 + Z * Z / n_trials
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == n_trials else (middle + half) / scale
    return low, high


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean: standard deviation over the root of the number."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ValueError(f"a standard error needs at least 2 values, got {len(values)}")
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def mean_interval(values: ArrayLike, *, student: bool = False) -> Interval:
    """95% interval of the mean of independent values, such as the accuracies of folds.

    Args:
        values: (N,) at least two.
        student: Whether to use Student's t instead of the normal distribution, for few
            values such as 10 folds.
    """
    values = np.asarray(values, np.float64)
    width = _student_width(len(values) - 1) if student else Z
    width *= standard_error(values)
    return float(values.mean() - width), float(values.mean() + width)


def _student_width(degrees: int) -> float:
    """The number of standard errors that hold ``LEVEL`` of Student's t distribution.

    By bisection of its closed form for whole degrees of freedom: Abramowitz and Stegun,
    Handbook of Mathematical Functions, 1964, 26.7.3 and 26.7.4.
    """
    low, high, odd = 0.0, math.pi / 2, degrees % 2
    for _ in range(60):
        angle = (low + high) / 2
        share, term = 0.0, math.cos(angle) if odd else 1.0
        for k in range(1 + odd, degrees, 2):
            share += term
            term *= math.cos(angle) ** 2 * k / (k + 1)
        share *= math.sin(angle)
        share = (angle + share) * 2 / math.pi if odd else share
        low, high = (angle, high) if share < LEVEL else (low, angle)
    return math.tan(low) * math.sqrt(degrees)


def bootstrap_interval(
    figures: Callable[[RocCurve], Sequence[float]],
    scores: ArrayLike,
    is_same: ArrayLike,
    left_classes: ArrayLike,
    right_classes: ArrayLike,
    *,
    seed: int,
    n_resamples: int = 400,
) -> list[Interval]:
    """95% percentile intervals of figures of a ROC curve, from resampled classes.

    Pairs that share a class are not independent, so resampling pairs would give intervals
    that are far too narrow. Here each resample draws N of the N classes with replacement: a
    same pair counts as often as its class was drawn, a different pair as often as the
    product of the draws of its two classes.

    Args:
        figures: From a ROC curve to one or more numbers.
        scores, is_same: (N,) of the pairs.
        left_classes, right_classes: (N,) classes of their sides.
        seed: Seed of the resampling.
        n_resamples: Number of resamples; those without both kinds of pairs are left out.

    Raises:
        ValueError: If there are fewer than 10 classes.
    """
    scores, is_same = _checked(scores, is_same)
    ranked = _Ranked(scores, is_same)
    sides = np.stack([np.asarray(left_classes), np.asarray(right_classes)])
    names, classes = np.unique(sides, return_inverse=True)
    left, right = classes.reshape(2, -1)
    if len(names) < CLASSES_NEEDED:
        raise ValueError(
            f"a bootstrap over classes needs at least {CLASSES_NEEDED} classes, "
            f"got {len(names)}"
        )
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_resamples):
        chosen = generator.integers(len(names), size=len(names))
        times = np.bincount(chosen, minlength=len(names)).astype(np.float64)
        weights = times[left] * np.where(is_same, 1.0, times[right])
        if weights[is_same].any() and weights[~is_same].any():
            drawn.append(figures(ranked.curve(weights)))
    tails = [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]
    low, high = np.quantile(np.array(drawn, np.float64), tails, axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


class Reliability(NamedTuple):
    """Stated probabilities beside what happened, in the bins that are not empty."""

    stated: Floats  # (K,) mean probability, rising
    happened: Floats  # (K,) share of same pairs
    weight: Floats  # (K,) share of all pairs, adding up to 1

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of the two, weighted by pairs."""
        return float(self.weight @ np.abs(self.stated - self.happened))


def reliability(
    probability: ArrayLike, is_same: ArrayLike, prior: float, n_bins: int = 15
) -> Reliability:
    """Reliability diagram of a probability, in equally wide bins (Guo et al. 2017).

    Args:
        probability: (N,) that a pair is the same.
        is_same: (N,) bool.
        prior: Share of same pairs that the probability assumes; pairs are weighted to it.
        n_bins: Number of bins between 0 and 1.

    Example:
        >>> reliability([0.9, 0.9, 0.1, 0.1], [True, False, False, False], 0.25).happened
        array([0. , 0.5])
    """
    probability, is_same = _checked(probability, is_same)
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError("a probability lies between 0 and 1; these are scores")
    weights = np.where(is_same, prior / is_same.sum(), (1 - prior) / (~is_same).sum())
    bins = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    weight, stated, happened = (
        np.bincount(bins, weights * values, n_bins).astype(np.float64)
        for values in (1.0, probability, is_same.astype(np.float64))
    )
    held = weight > 0
    return Reliability(
        stated[held] / weight[held], happened[held] / weight[held], weight[held]
    )


def pearson(left: ArrayLike, right: ArrayLike) -> float:
    """Pearson's correlation; nan where one side does not vary."""
    left, right = _two_columns(left, right)
    if left.std() == 0 or right.std() == 0:
        return math.nan
    return float(np.corrcoef(left, right)[0, 1])


def spearman(left: ArrayLike, right: ArrayLike) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank."""
    left, right = _two_columns(left, right)
    return pearson(_ranks(left), _ranks(right))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (counts.cumsum() - (counts - 1) / 2)[which]
    return ranks


def pearson_interval(correlation: float, n_pairs: int) -> Interval:
    """95% interval of a Pearson correlation by Fisher's z."""
    if n_pairs < 4 or not -1 < correlation < 1:
        return (-1.0, 1.0) if n_pairs < 4 else (correlation, correlation)
    width = Z / math.sqrt(n_pairs - 3)
    z = math.atanh(correlation)
    return math.tanh(z - width), math.tanh(z + width)


def mean_squared_error(left: ArrayLike, right: ArrayLike) -> float:
    """Mean of the squared differences."""
    left, right = _two_columns(left, right)
    return float(np.mean((left - right) ** 2))


def _two_columns(left: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    left, right = (np.asarray(to_numpy(x), np.float64) for x in (left, right))
    if left.shape != right.shape or left.ndim != 1 or not len(left):
        raise ValueError(
            f"expected two equally long columns, got {left.shape}, {right.shape}"
        )
    return left, right


def to_numpy(values: Any) -> NDArray[Any]:
    """A NumPy array of an array, or of a PyTorch tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()  # NumPy has no bfloat16
    return np.asarray(values)


def _columns(scores: ArrayLike, is_same: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores in float64, in which a threshold between two float32 scores exists."""
    scores = np.asarray(to_numpy(scores), np.float64)
    is_same = np.asarray(to_numpy(is_same), bool)
    if scores.shape != is_same.shape or scores.ndim != 1:
        raise ValueError(
            "scores and is_same must have the same shape (N,), "
            f"got {scores.shape} and {is_same.shape}"
        )
    return scores, is_same


def _checked(scores: ArrayLike, is_same: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    scores, is_same = _columns(scores, is_same)
    n_bad = int((~np.isfinite(scores)).sum())
    if n_bad:
        raise ValueError(f"scores must be finite, got {n_bad} that are not")
    n_same = int(is_same.sum())
    if not 0 < n_same < len(is_same):
        raise ValueError(
            f"expected same and different pairs, got {n_same} same and "
            f"{len(is_same) - n_same} different"
        )
    return scores, is_same


def _last_at_most(far: NDArray[Any], limit: float) -> int:
    return int(np.searchsorted(far, limit + 1e-12, side="right")) - 1


def _threshold_after(curve: RocCurve, k: int) -> float:
    """A threshold that decides as ROC point k does, halfway to the next score below."""
    upper = curve.thresholds[k]
    if k + 1 == len(curve.thresholds):
        return float(upper)
    lower = curve.thresholds[k + 1]
    if not np.isfinite(upper):
        return float(np.nextafter(lower, np.inf))
    middle = lower + (upper - lower) / 2
    return float(middle if middle > lower else upper)
