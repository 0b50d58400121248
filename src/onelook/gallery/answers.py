"""Identification: the identity that a probe shows, or unknown."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onelook.decision import Decision, IdentifyThreshold
from onelook.familiarity import Reason
from onelook.gallery.store import Hit, Stats
from onelook.tables import data_frame, html_table

# Fraction of probes that stated probabilities assume to be unknown.
UNKNOWN = 0.5
# From this share of strangers accepted on, a threshold says nothing of who is known.
WORTHLESS = 0.5


@dataclass(frozen=True)
class Match:
    """One identity of the gallery, compared with the probe.

    Args:
        identity: Name of who or what it is.
        score: Score of its best image, or of the vote of its images where the model has
            thresholds for several.
        dissimilarity: The same as a number that shrinks when alike.
        probability: Probability that the probe shows this identity, if half of the probes
            are unknown; None where the model has no decision.
        is_same: True at or above the threshold, False where the model says different; None
            between the two, or without a decision.
        n_images: Number of its images that were compared.
        entry: Number of its best image; see ``Gallery.entry``.
    """

    identity: str
    score: float
    dissimilarity: float
    probability: float | None
    is_same: bool | None
    n_images: int
    entry: int


@dataclass(frozen=True)
class Identification:
    """The identity that a probe shows, or unknown, with the best matches.

    Args:
        identity: None for an unknown probe, and where the model has no decision.
        matches: Best matches, best first, ties by identity.
        threshold: Score from which the best match is accepted.
        fpir: Fraction of unknown probes that the threshold falsely accepts at this size.
        extrapolated: Whether the gallery is larger than those that were measured.
        gallery_size: Number of enrolled images.
        cohort: What scores are centred or normalised by; empty for plain scores.
        familiar: Whether the probe looks like what the model was calibrated on, or like the
            cohort; False makes the verdict "unsure", None says that it is not known.
        reason: Why the verdict is "unsure", and what to do: the probe is not familiar, or
            most strangers would pass the threshold. Empty if it is not.

    Attributes:
        verdict: "known", "unknown" or "unsure"; empty where the model has no threshold.
    """

    identity: str | None
    matches: tuple[Match, ...]
    threshold: float | None
    fpir: float | None
    extrapolated: bool
    gallery_size: int
    cohort: str = ""
    familiar: bool | None = None
    reason: str = ""
    verdict: Literal["known", "unknown", "unsure", ""] = dataclasses.field(
        init=False, default=""
    )

    # In the OpenAPI document the verdict is a field that every answer has.
    __pydantic_config__ = {"json_schema_serialization_defaults_required": True}

    def __post_init__(self) -> None:
        if self.threshold is not None:
            verdict = "unknown" if self.identity is None else "known"
            verdict = "unsure" if self.reason else verdict
            object.__setattr__(self, "verdict", verdict)

    def __bool__(self) -> bool:
        """Refused: who is unknown may be meant, or whether there was an answer.

        Raises:
            TypeError: Always.
        """
        raise TypeError("an answer is no bool: ask for .identity (None for unknown)")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        if not self.matches:
            return "unknown: the gallery is empty"
        best = self.matches[0]
        nearest = f"{best.identity} (score {best.score:.4f})"
        if self.threshold is None:
            return (
                f"nearest is {nearest}; no verdict, since the model has no threshold: add "
                "one with onelook calibrate"
            )
        rate = f"threshold {self.threshold:.4f}, false accepts {self.fpir:.2g}"
        rate += " by extrapolation" if self.extrapolated else ""
        rate += f"; {self.cohort}" if self.cohort else ""
        if self.reason:
            return f"unsure: {self.reason}; nearest is {nearest}, {rate}"
        if self.identity is None:
            chance = f"probability {best.probability:.3f}, score {best.score:.4f}"
            return f"unknown: nearest is {best.identity} ({chance}), {rate}"
        return f"{self.identity}: probability {best.probability:.3f}, score " + (
            f"{best.score:.4f} ({rate})"
        )

    def to_frame(self) -> Any:
        """The matches as a pandas DataFrame.

        Raises:
            OnelookError: If pandas is not installed.
        """
        return data_frame([dataclasses.asdict(match) for match in self.matches])

    def _repr_html_(self) -> str:
        rows = []
        for match in self.matches:
            chance = match.probability
            also = "" if chance is None else f", probability {chance:.3f}"
            rows.append((match.identity, f"score {match.score:.4f}{also}"))
        return html_table(str(self), rows)


@dataclass(frozen=True)
class Candidate:
    """An identity near a probe, as in ``Match``."""

    identity: str
    score: float
    n_images: int
    entry: int


def best_images(hits: Sequence[Hit], scores: NDArray[Any]) -> list[Candidate]:
    """The identities of N images with scores (N,), each by its best one.

    The best come first, ties by identity.
    """
    best: dict[str, int] = {}
    for i in sorted(range(len(hits)), key=lambda i: (-scores[i], hits[i].id)):
        best.setdefault(hits[i].identity, i)
    counts = Counter(hit.identity for hit in hits)
    order = sorted(best.values(), key=lambda i: (-scores[i], hits[i].identity))
    return [
        Candidate(hits[i].identity, float(scores[i]), counts[hits[i].identity], hits[i].id)
        for i in order
    ]


def answer(
    candidates: Sequence[Candidate],
    dissimilarities: NDArray[Any],
    *,
    decision: Decision | None,
    stats: Stats,
    k: int,
    cohort: str = "",
    reason: Reason = None,
) -> Identification:
    """The ``k`` best identities near a probe, and whether the best is right.

    The more images of an identity vote, the higher scores are, and so is its threshold.
    That identity is the best whose score is furthest above its own threshold.

    Args:
        candidates: N identities near the probe, ``k`` at least.
        dissimilarities: (N,) their scores as numbers that shrink when alike.
        decision: Decision of the model, or None.
        stats: Size of the gallery.
        k: Number of matches.
        cohort: What scores are centred or normalised by, in words.
        reason: Why the probe is not familiar; "" where it is, None if that is not known.
    """
    counts = {1, *(one.n_images for one in candidates)}
    by_count = {n_images: limit_of(decision, stats, n_images) for n_images in counts}
    limits, single = [by_count[one.n_images] for one in candidates], by_count[1]
    # What the scores of identities with a single image would be.
    alike = np.array(
        [
            one.score - (limit.threshold - single.threshold if limit and single else 0.0)
            for one, limit in zip(candidates, limits, strict=True)
        ]
    )
    order = sorted(
        range(len(candidates)), key=lambda i: (-alike[i], candidates[i].identity)
    )
    probabilities = _probabilities(alike[order], decision, stats.n_identities)
    matches = tuple(
        Match(
            identity=candidates[i].identity,
            score=candidates[i].score,
            dissimilarity=float(dissimilarities[i]),
            probability=probability,
            is_same=_is_same(float(alike[i]), decision, single),
            n_images=candidates[i].n_images,
            entry=candidates[i].entry,
        )
        for i, probability in zip(order[:k], probabilities, strict=False)
    )
    limit = limits[order[0]] if order else single
    passes = limit is not None and matches and matches[0].is_same
    doubt = reason or (too_lax(limit, stats) if passes else "")
    known = passes and not doubt
    return Identification(
        identity=matches[0].identity if known else None,
        matches=matches,
        threshold=None if limit is None else limit.threshold,
        fpir=None if limit is None else limit.fpir,
        extrapolated=limit is not None and limit.extrapolated,
        gallery_size=stats.n_images,
        cohort=cohort,
        familiar=None if reason is None else not reason,
        reason=doubt,
    )


def too_lax(limit: IdentifyThreshold | None, stats: Stats) -> str:
    """Why a score above ``limit`` names nobody; empty where it does."""
    if limit is None or limit.fpir < WORTHLESS:
        return ""
    return (
        f"among {stats.n_images:,} images this threshold would accept {limit.fpir:.0%} of "
        "all strangers; calibrate the model on 10 classes or more that it was not trained "
        "on: onelook calibrate"
    )


def limit_of(
    decision: Decision | None, stats: Stats, n_images: int
) -> IdentifyThreshold | None:
    """The threshold of an identity with so many images in a gallery.

    Without thresholds for several images an identity counts by its best one, as if each
    image were an identity.
    """
    if decision is None:
        return None
    by_identity = decision.most_images > 1
    size = stats.n_identities if by_identity else stats.n_images
    return decision.threshold_among(size, n_images if by_identity else 1)


def _is_same(
    score: float, decision: Decision | None, limit: IdentifyThreshold | None
) -> bool | None:
    if decision is None or limit is None:
        return None
    if score >= limit.threshold:
        return True
    return False if score < decision.reject_below else None


def _probabilities(
    scores: NDArray[Any], decision: Decision | None, n_identities: int
) -> list[float | None]:
    """Probability of each identity, by Bayes: unknown, or all identities as likely.

    The odds of the score are those of the calibrated probability over those of its prior.
    """
    if decision is None or not len(scores):
        return [None] * len(scores)
    pair = decision.probability(scores.astype(np.float64))
    pair = np.clip(pair, 1e-12, 1 - 1e-12)
    odds = pair / (1 - pair) * (1 - decision.prior) / decision.prior
    weights = odds * (1 - UNKNOWN) / max(n_identities, 1)
    return [float(value) for value in weights / (UNKNOWN + weights.sum())]
