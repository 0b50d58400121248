"""Decision: what a score means. Threshold at a false-accept rate, probability, unsure."""

import dataclasses
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelook.metrics import CLASSES_NEEDED, check_far, threshold_at_far, threshold_at_frr

# Calibrating needs more than measuring: chance lets about this many different pairs
# through.
FALSE_ACCEPTS_NEEDED = 30
LARGEST_FAR = 0.5


@dataclasses.dataclass(frozen=True)
class Decision:
    """How a score is read; fitted by ``fit_decision``, saved inside a model.

    Args:
        threshold: A pair is the same when ``score >= threshold``.
        reject_below: A pair is different when ``score < reject_below``; it is unsure
            between the two. Equal to ``threshold`` where one threshold keeps both error
            rates.
        far: The false-accept rate that ``threshold`` stands for; the false-reject rate that
            ``reject_below`` stands for.
        prior: Share of same pairs that ``probability`` assumes.
        slope, intercept: The probability is ``sigmoid(slope * score + intercept)``.
        n_same, n_different, n_classes: What it was fitted on.
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
            prior: Share of same pairs where the question is asked; the fitted one when
                ``None``.
        """
        shift = 0.0 if prior is None else _logit(_checked_prior(prior)) - _logit(self.prior)
        logit = self.slope * np.asarray(score, np.float64) + self.intercept + shift
        probability = np.exp(-np.logaddexp(0.0, -logit))
        return probability if isinstance(score, np.ndarray) else float(probability)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``from_dict``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Decision":
        """The Decision that ``to_dict`` described.

        Raises:
            ValueError: If a value is missing or unknown.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if set(values) != known:
            wrong = ", ".join(sorted(known ^ set(values)))
            raise ValueError(f"a decision with missing or unknown values: {wrong}")
        return cls(**values)


def smallest_far(n_different: int) -> float:
    """The smallest false-accept rate that so many different pairs can calibrate."""
    return FALSE_ACCEPTS_NEEDED / max(n_different, 1)


def fit_decision(
    scores: ArrayLike,
    is_same: ArrayLike,
    far: float = 0.01,
    prior: float = 0.5,
    *,
    n_classes: int,
    strict: bool = False,
) -> Decision:
    """Fit a Decision on pairs of held-out classes: neither trained nor tested on.

    The probability is Platt's: a logistic curve through the score, the two kinds of pairs
    weighted so that a share ``prior`` of them is the same. Its slope is never negative.

    Args:
        scores: (N,), larger = more alike.
        is_same: (N,) bool.
        far: The false-accept rate wanted.
        prior: Share of same pairs where the model will be used, in (0, 1).
        n_classes: Classes that the pairs are made of.
        strict: Refuse a ``far`` that needs more different pairs, instead of taking the
            smallest that they support.

    Raises:
        ValueError: If there are fewer than 10 classes, or too few different pairs.
    """
    scores, is_same = np.asarray(scores, np.float64), np.asarray(is_same, bool)
    n_same, n_different = int(is_same.sum()), int((~is_same).sum())
    if n_classes < CLASSES_NEEDED:
        raise ValueError(
            f"a decision needs pairs of at least {CLASSES_NEEDED} held-out classes, "
            f"got {n_classes}; hold out more classes"
        )
    if strict:
        check_far(far, n_different, FALSE_ACCEPTS_NEEDED)
    check_far(LARGEST_FAR, n_different, FALSE_ACCEPTS_NEEDED)
    far = max(far, smallest_far(n_different))
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
    )


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
    if line[0] <= 0:  # the scores tell nothing, or the wrong way round
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
