"""Cohort: unlabelled images of the place where a model answers, and scores beside them.

A threshold that was fitted on one kind of images is too lax or too strict on another. What
scores mean in a new place, some unlabelled images of it tell.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.decision import Decision, Kind
from onelook.errors import DataError
from onelook.runtime.scores import Near, Scores, build_scores

SMALLEST, LARGE, LARGEST = 20, 200, 1000  # images
TOP = 20  # nearest images of the smallest cohort that normalises
# Parts of the largest distance in a cohort: copies of one image, and images of one thing.
COPY, ALIKE = 0.02, 0.5
MOST_ALIKE = 0.5  # share of a cohort that may look alike
LARGEST_QUANTILE = 0.99
LEAST_SPREAD = 1e-6
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Cohort:
    """Embeddings of unlabelled images of a place.

    Args:
        embeddings: (N, D) float32, without copies of one image.
        name: What people call the images, such as the name of their folder.
        notes: Sentences for people on what is wrong with the images.
        reach: How unlike the familiar ones nearly all of them are: what is less so is
            familiar in the place; see familiarity.py.
    """

    embeddings: NDArray[np.float32]
    name: str = "a cohort"
    notes: tuple[str, ...] = ()
    reach: float = 1.0

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        return f"<Cohort of {len(self):,} images: {self.name}>"


def make_cohort(
    embeddings: NDArray[np.float32], name: str = "a cohort", near: Near = "cosine"
) -> Cohort:
    """A cohort without the copies among its images, with what is wrong with it.

    Args:
        embeddings: (N, D) of unlabelled images; of more than 1,000 a random part is kept.
        name: What people call the images.
        near: Distance of the model; by "cosine" the length of an embedding says nothing.

    Raises:
        DataError: If fewer than 20 different images are left.
    """
    n_given = len(embeddings)
    embeddings = embeddings[sample(n_given)]
    kept, alike = np.arange(len(embeddings)), 0.0
    if len(embeddings) > 1:
        seen = embeddings
        if near == "cosine":
            lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
            seen = embeddings / np.maximum(lengths, LEAST_SPREAD)
        distances = -build_scores("euclidean").matrix(seen, seen)
        np.fill_diagonal(distances, np.nan)
        largest = np.nanquantile(distances, LARGEST_QUANTILE)
        earlier = np.tril(distances <= COPY * largest, -1)  # NaN is no copy
        kept = np.flatnonzero(~earlier.any(1))
        is_alike = distances[np.ix_(kept, kept)] < ALIKE * largest
        alike = float(is_alike.sum(1).max() + 1) / len(kept)
    if len(kept) < SMALLEST:
        n_copies = len(embeddings) - len(kept)
        copies = f", {n_copies} of them copies" if n_copies else ""
        raise DataError(
            f"{name}: a cohort needs at least {SMALLEST} different images of the place, "
            f"got {n_given}{copies}; add unlabelled images like those that will be compared"
        )
    notes = []
    if len(kept) < len(embeddings):
        n_copies = len(embeddings) - len(kept)
        notes.append(
            f"left out {n_copies:,} of {len(embeddings):,} images: copies of others"
        )
    if alike > MOST_ALIKE:
        notes.append(
            f"{alike:.0%} of the images look like one thing; thresholds hold for a mixture "
            "as it is met in use: add images of other things, or leave some of these out"
        )
    return Cohort(embeddings[kept], name, tuple(notes))


def sample(n_images: int) -> list[int]:
    """Which of N images a cohort keeps: all, or a random part of more than 1,000."""
    chosen = np.random.default_rng(0).permutation(n_images)[:LARGEST]
    return sorted(chosen.tolist())


def kinds_for(scores: Scores) -> tuple[Kind, ...]:
    """The kinds of scores beside a cohort that a similarity allows.

    A learned head knows no other origin than that of its training, so it is never centred.
    """
    return ("centred", "normalised") if scores.follows_near else ("normalised",)


def decision_beside(decision: Decision, cohort: Cohort, model: str) -> Decision:
    """The decision of a model for scores beside a cohort.

    Raises:
        DataError: If it has none, or none for so small a cohort.
    """
    if not decision.cohorts:
        raise DataError(
            f"the decision of {model} has no thresholds beside cohorts: onelook calibrate "
            "MODEL --data FOLDER fits them, from 10 classes and 40 images or more"
        )
    fitting = decision.for_cohort(len(cohort))
    if fitting is None:
        raise DataError(
            f"{cohort.name}: {model} needs a cohort of {decision.cohorts[0].cohort_size} "
            f"different images, got {len(cohort)}"
        )
    return fitting


def cohort_scores(scores: Scores, cohort: Cohort, decision: Decision | None) -> Scores:
    """How a model scores pairs beside a cohort, as a decision beside cohorts wants it.

    Without a decision, 200 images or more normalise and fewer centre.
    """
    if decision is not None:
        return scores_of_kind(scores, cohort, decision.kind, decision.cohort_size)
    kinds = kinds_for(scores)
    if len(cohort) >= LARGE:
        return scores_of_kind(scores, cohort, kinds[-1], LARGE)
    return scores_of_kind(scores, cohort, kinds[0], SMALLEST)


def scores_of_kind(scores: Scores, cohort: Cohort, kind: Kind, smallest: int) -> Scores:
    """Scores of pairs beside a cohort, of one kind.

    "centred" is the cosine of embeddings from which the cohort's mean was subtracted,
    whatever similarity the model has: a distance is the same from any origin.
    "normalised" is the adaptive symmetric score normalisation: a score in standard
    deviations above the mean of those of each side with its nearest images of the cohort.

    Args:
        scores: Those of the model.
        cohort: Images of the place.
        kind: "centred" or "normalised".
        smallest: The cohort size that the threshold was fitted with; a larger cohort
            normalises by as large a share of its images.

    Reference:
        Matějka, Novotný, Plchot, Burget, Sánchez, Černocký. Analysis of Score
        Normalization in Multilingual Speaker Recognition. Interspeech 2017.
    """
    name = f"{scores.name}, {kind}"
    if kind == "centred":
        cosine, mean = build_scores("cosine"), cohort.embeddings.mean(0)

        def centred(formula: Callable[..., Any]) -> Callable[..., Any]:
            return lambda left, right: formula(left - mean, right - mean)

        pairs, matrix = centred(cosine.pairs), centred(cosine.matrix)
        dissimilarity = cosine.dissimilarity
    else:
        top = max(1, round(TOP * len(cohort) / max(smallest, TOP)))
        pairs, matrix = _normalised(scores, cohort.embeddings, top)
        dissimilarity = np.negative
    return dataclasses.replace(
        scores,
        name=name,
        pairs=pairs,
        matrix=matrix,
        dissimilarity=dissimilarity,
        follows_near=False,
    )


def _normalised(
    scores: Scores, cohort: NDArray[np.float32], top: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Formulas for pairs and for all combinations, by the ``top`` nearest of the cohort."""

    def moments(embeddings: NDArray[Any], side: str) -> tuple[NDArray[Any], NDArray[Any]]:
        parts = []
        for start in range(0, len(embeddings), BLOCK_ROWS):
            block = embeddings[start : start + BLOCK_ROWS]
            if side == "left":
                against = scores.matrix(block, cohort)
            else:
                against = scores.matrix(cohort, block).T
            n_rest = against.shape[1] - top
            best = np.partition(against.astype(np.float64), n_rest, axis=1)[:, n_rest:]
            parts.append([best.mean(1), np.maximum(best.std(1), LEAST_SPREAD)])
        mean, spread = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0))
        return mean, spread

    def pairs(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        plain = scores.pairs(left, right)
        (a, a_spread), (b, b_spread) = moments(left, "left"), moments(right, "right")
        found: NDArray[Any] = ((plain - a) / a_spread + (plain - b) / b_spread) / 2
        return found

    def matrix(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        plain = scores.matrix(left, right)
        (a, a_spread), (b, b_spread) = moments(left, "left"), moments(right, "right")
        by_left = (plain - a[:, None]) / a_spread[:, None]
        found: NDArray[Any] = (by_left + (plain - b) / b_spread) / 2
        return found

    return pairs, matrix
