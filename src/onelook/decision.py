"""What a score means: thresholds for pairs and for galleries, and a probability."""

import dataclasses
import math
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelook.metrics import (
    CLASSES_NEEDED,
    Interval,
    check_far,
    frr_at,
    threshold_at_far,
    threshold_at_frr,
)

# Calibrating needs more than measuring: chance accepts about this many different pairs.
FALSE_ACCEPTS_NEEDED = 30
LARGEST_FAR = 0.5
Kind = Literal["plain", "centred", "normalised"]  # of scores; see cohort.py
Vote = Literal["best", "either", "blend"]  # of several images of an identity; see votes.py
CURVE_POINTS = 200
HISTOGRAM_BINS = 40


@dataclasses.dataclass(frozen=True)
class IdentifyThreshold:
    """The score from which the best match in a gallery is accepted.

    ``fpir`` is the false-positive identification rate: the fraction of unknown probes that
    are falsely accepted at this threshold in a gallery of this size, which is
    ``extrapolated`` if it is larger than any that was simulated.
    """

    threshold: float
    fpir: float
    extrapolated: bool


@dataclasses.dataclass(frozen=True)
class IdentifyRow:
    """What simulated galleries of one size measured.

    ``fpir`` is the fraction of unknown probes whose best match reaches the threshold,
    ``known`` that of known probes whose best match is their own and reaches it; None if no
    class has images enough. ``gallery_size`` counts identities of ``n_images`` each.
    """

    gallery_size: int
    threshold: float
    fpir: float
    known: float | None = None
    n_images: int = 1


@dataclasses.dataclass(frozen=True)
class Decision:
    """How a score is read; fitted by ``fit_decision``, saved inside a model.

    Args:
        threshold: Lowest score of a pair that is the same.
        reject_below: Score below which a pair is different; between the two it is unsure.
            Equal to ``threshold`` if one threshold keeps both error rates.
        far: False-accept rate that ``threshold`` stands for, and false-reject rate that
            ``reject_below`` stands for.
        prior: Fraction of same pairs that ``probability`` assumes.
        slope: The probability is ``sigmoid(slope * score + intercept)``.
        intercept: See ``slope``.
        n_same: Number of same pairs that it was fitted on.
        n_different: Number of different pairs that it was fitted on.
        n_classes: Number of classes that it was fitted on.
        frr: Fraction of these same pairs that ``threshold`` rejects.
        seen: Lowest and highest of these scores; beyond them the probability is constant.
        pairs: What a different pair was made of, in words.
        intervals: 95% intervals of "threshold", "far" and "frr", from resampled classes.
        identify: Thresholds for galleries, those for single images first, and of these the
            smallest gallery first; none if the model was calibrated for pairs alone.
        vote: How several images of an identity count where there are thresholds for them.
        curves: Data for plots: "thresholds" (200 rising scores) with their "far" and "frr",
            and "histogram", the fractions of "same" and "different" pairs between "edges".
        kind: Kind of scores that it reads: "plain", or beside a cohort "centred" or
            "normalised".
        cohort_size: Images of the smallest cohort that it is for; 0 for plain scores.
        cohorts: The decisions of the same model beside cohorts, smallest first.
    """

    threshold: float
    reject_below: float
    far: float
    prior: float
    slope: float
    intercept: float
    n_same: int
    n_different: int
    n_classes: int
    frr: float | None = None
    seen: Interval | None = None
    pairs: str = ""
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    identify: tuple[IdentifyRow, ...] = ()
    vote: Vote = "best"
    curves: dict[str, Any] | None = None
    kind: Kind = "plain"
    cohort_size: int = 0
    cohorts: tuple["Decision", ...] = ()

    def for_cohort(self, size: int) -> "Decision | None":
        """The decision beside a cohort of that many images; None if none was fitted."""
        fitting = [found for found in self.cohorts if found.cohort_size <= size]
        return fitting[-1] if fitting else None

    def decide(self, score: float) -> bool | None:
        """True for same, False for different, None for unsure."""
        if score >= self.threshold:
            return True
        return False if score < self.reject_below else None

    @overload
    def probability(self, score: float, prior: float | None = None) -> float: ...
    @overload
    def probability(
        self, score: NDArray[Any], prior: float | None = None
    ) -> NDArray[np.float64]: ...

    def probability(
        self, score: float | NDArray[Any], prior: float | None = None
    ) -> float | NDArray[np.float64]:
        """Probability that a pair of this score is the same; never falls as scores rise.

        Args:
            score: One score, or an array of them.
            prior: Fraction of same pairs where the question is asked; by default ``prior``.
        """
        shift = 0.0 if prior is None else _logit(_checked_prior(prior)) - _logit(self.prior)
        scores = np.asarray(score, np.float64)
        if self.seen is not None:
            scores = np.clip(scores, *self.seen)
        logit = self.slope * scores + self.intercept + shift
        probability = np.exp(-np.logaddexp(0.0, -logit))
        return probability if isinstance(score, np.ndarray) else float(probability)

    @property
    def most_images(self) -> int:
        """The most images of an identity that a threshold was fitted for."""
        return max((row.n_images for row in self.identify), default=1)

    def identify_threshold(
        self, gallery_size: int, n_images: int = 1
    ) -> IdentifyThreshold | None:
        """The threshold for a gallery; None if none was fitted.

        Between measured sizes it is interpolated over the logarithm of the size. Beyond the
        largest it continues the slope of the last tenfold of sizes: the best of N scores
        grows with log N if the tail of the scores is exponential, and more slowly if the
        scores are bounded, as cosines are, so that the error is on the strict side. It
        stays below the highest score that was fitted, so that something can reach it.

        Args:
            gallery_size: Number of enrolled identities.
            n_images: Images of the identity whose score is judged; of more than were
                measured, the threshold is that of the most.
        """
        if not self.identify:
            return None
        by_images: dict[int, list[IdentifyRow]] = {}
        for row in self.identify:
            by_images.setdefault(row.n_images, []).append(row)
        below = max((n for n in by_images if n <= n_images), default=min(by_images))
        above = min((n for n in by_images if n >= n_images), default=below)
        found = self._threshold_of(by_images[below], gallery_size)
        if above <= below:
            return found
        higher = self._threshold_of(by_images[above], gallery_size).threshold
        share = math.log(n_images / below) / math.log(above / below)
        threshold = found.threshold + share * (higher - found.threshold)
        return dataclasses.replace(found, threshold=threshold)

    def threshold_among(self, gallery_size: int, n_images: int = 1) -> IdentifyThreshold:
        """``identify_threshold``, or that of pairs where none was fitted.

        The rate of the latter is computed as if comparisons erred independently.
        """
        fitted = self.identify_threshold(gallery_size, n_images)
        if fitted is not None:
            return fitted
        fpir = 1 - (1 - self.far) ** max(gallery_size, 1)
        return IdentifyThreshold(self.threshold, fpir, extrapolated=gallery_size > 1)

    def _threshold_of(
        self, measured: list[IdentifyRow], gallery_size: int
    ) -> IdentifyThreshold:
        """The threshold between or beyond the sizes that were measured."""
        sizes = np.log([row.gallery_size for row in measured])
        thresholds = np.array([row.threshold for row in measured])
        size = math.log(max(gallery_size, 1))
        fpir = max(row.fpir for row in measured)
        if size <= sizes[-1]:
            return IdentifyThreshold(float(np.interp(size, sizes, thresholds)), fpir, False)
        last = sizes >= sizes[-1] - math.log(10)
        slope = 0.0
        if last.sum() > 1:
            x, y = sizes[last] - sizes[last].mean(), thresholds[last]
            slope = max(0.0, float(x @ y / (x @ x)))
        threshold = float(thresholds[-1] + slope * (size - sizes[-1]))
        if self.seen is not None:
            threshold = min(threshold, max(self.seen[1], float(thresholds[-1])))
        return IdentifyThreshold(threshold, fpir, True)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``from_dict``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Decision":
        """The Decision that ``to_dict`` described, by this onelook or an older one.

        Raises:
            ValueError: If a value is missing or unknown.
        """
        fields = dataclasses.fields(cls)
        known = {field.name for field in fields}
        # What is optional was added later: models saved before are still read.
        needed = {
            field.name
            for field in fields
            if field.default is field.default_factory is dataclasses.MISSING
        }
        if not needed <= set(values) <= known:
            wrong = ", ".join(sorted((needed - set(values)) | (set(values) - known)))
            raise ValueError(f"a decision with missing or unknown values: {wrong}")
        read = dict(values)
        if read.get("seen") is not None:
            read["seen"] = tuple(read["seen"])
        intervals = read.get("intervals", {})
        read["intervals"] = {name: tuple(ends) for name, ends in intervals.items()}
        read["identify"] = tuple(IdentifyRow(**row) for row in read.get("identify", ()))
        read["cohorts"] = tuple(map(cls.from_dict, read.get("cohorts", ())))
        return cls(**read)


def fit_decision(
    scores: ArrayLike,
    is_same: ArrayLike,
    far: float = 0.01,
    prior: float = 0.5,
    *,
    n_classes: int,
    n_same: int | None = None,
    n_different: int | None = None,
    strict: bool = False,
    fewest_classes: int = CLASSES_NEEDED,
) -> Decision:
    """Fit a Decision on pairs of held-out classes, neither trained nor tested on.

    The probability is a logistic curve through the score (Platt 1999), the pairs weighted
    so that a fraction ``prior`` of them is the same. Its slope is never negative.

    Args:
        scores: (N,), larger = more alike.
        is_same: (N,) bool.
        far: False-accept rate wanted.
        prior: Fraction of same pairs where the model will be used, in (0, 1).
        n_classes: Number of classes that the pairs are made of.
        n_same: Number of distinct same pairs, if some are repeated.
        n_different: Number of distinct different pairs, if some are repeated.
        strict: Refuse a ``far`` that needs more different pairs, instead of taking the
            smallest that the pairs support.
        fewest_classes: Refuse pairs of fewer classes.

    Raises:
        ValueError: If there are too few classes, or too few different pairs.
    """
    scores, is_same = np.asarray(scores, np.float64), np.asarray(is_same, bool)
    n_same = int(is_same.sum()) if n_same is None else n_same
    n_different = int((~is_same).sum()) if n_different is None else n_different
    if n_classes < fewest_classes:
        raise ValueError(
            f"a decision needs pairs of at least {fewest_classes} held-out classes, "
            f"got {n_classes}; hold out more classes"
        )
    if strict:
        check_far(far, n_different, FALSE_ACCEPTS_NEEDED)
    check_far(LARGEST_FAR, n_different, FALSE_ACCEPTS_NEEDED)
    far = max(far, FALSE_ACCEPTS_NEEDED / n_different)
    threshold = threshold_at_far(scores, is_same, far)
    slope, intercept = _fit_platt(scores, is_same, _checked_prior(prior))
    return Decision(
        threshold=threshold,
        reject_below=min(threshold, threshold_at_frr(scores, is_same, far)),
        far=far,
        prior=prior,
        slope=slope,
        intercept=intercept,
        n_same=n_same,
        n_different=n_different,
        n_classes=n_classes,
        frr=frr_at(scores, is_same, threshold),
        seen=(float(scores.min()), float(scores.max())),
        curves=_curves(scores, is_same),
    )


def _curves(scores: NDArray[np.float64], is_same: NDArray[np.bool_]) -> dict[str, Any]:
    """FAR and FRR over thresholds and histograms of scores, for pages that draw them."""
    low, high = np.quantile(scores, [0.0005, 0.9995])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    thresholds = np.linspace(low, high, CURVE_POINTS)
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    clipped = np.clip(scores, low, high)
    shares, rejected = {}, {}
    for name, mask in (("same", is_same), ("different", ~is_same)):
        shares[name] = _short(np.histogram(clipped[mask], edges)[0] / mask.sum())
        below = np.searchsorted(np.sort(scores[mask]), thresholds, side="left")
        rejected[name] = below / mask.sum()
    return {
        "thresholds": _short(thresholds),
        "far": _short(1 - rejected["different"]),
        "frr": _short(rejected["same"]),
        "histogram": {"edges": _short(edges), **shares},
    }


def _short(values: ArrayLike) -> list[float]:
    """As many digits as a drawing needs."""
    return [float(f"{value:.5g}") for value in np.asarray(values).tolist()]


def _fit_platt(
    scores: NDArray[np.float64], is_same: NDArray[np.bool_], prior: float
) -> tuple[float, float]:
    """Slope and intercept of the weighted logistic regression, by Newton's method.

    Platt's targets, a little inside 0 and 1, keep the slope finite where scores separate.
    """
    n_same = int(is_same.sum())
    n_different = len(is_same) - n_same
    targets = np.where(is_same, (n_same + 1) / (n_same + 2), 1 / (n_different + 2))
    weights = np.where(is_same, prior / n_same, (1 - prior) / n_different)
    centre, spread = scores.mean(), scores.std()
    if spread == 0:
        return 0.0, _logit(float(weights @ targets))
    z = (scores - centre) / spread
    inputs = np.stack([z, np.ones_like(z)], axis=1)  # (N, 2)
    line = np.array([0.0, _logit(float(weights @ targets))])
    for _ in range(100):
        logits = inputs @ line
        p = np.exp(-np.logaddexp(0.0, -logits))
        gradient = inputs.T @ (weights * (p - targets))
        hessian = (inputs * (weights * p * (1 - p))[:, None]).T @ inputs
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        loss = _logistic_loss(logits, targets, weights)
        while _logistic_loss(inputs @ (line - step), targets, weights) > loss + 1e-15:
            step /= 2
            if np.abs(step).max() < 1e-12:
                break
        line = line - step
        if np.abs(step).max() < 1e-10:
            break
    if line[0] <= 0:  # the scores say nothing, or rank the wrong way round
        return 0.0, _logit(float(weights @ targets))
    slope = line[0] / spread
    return float(slope), float(line[1] - slope * centre)


def _logistic_loss(
    logits: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    return float(weights @ (np.logaddexp(0.0, logits) - targets * logits))


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def _checked_prior(prior: float) -> float:
    if not 0 < prior < 1:
        raise ValueError(f"prior must lie between 0 and 1, got {prior}")
    return prior
