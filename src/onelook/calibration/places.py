"""Decisions beside cohorts, fitted on simulated places of held-out classes.

A place is a group of classes, such as an alphabet, or else a random set of classes. Some of
its images are the cohort, without their labels; the others are scored beside it.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.galleries import GallerySimulation, simulate_galleries
from onelook.calibration.pairs import ClassPairs
from onelook.cohort import LARGE, SMALLEST, Cohort, kinds_for, scores_of_kind
from onelook.decision import (
    FALSE_ACCEPTS_NEEDED,
    LARGEST_FAR,
    IdentifyRow,
    Kind,
    fit_identify,
)
from onelook.metrics import CLASSES_NEEDED, frr_at, threshold_at_far
from onelook.runtime.scores import Scores

MOST_SCORED = 2000  # images of a place
N_DRAWS = 30  # cohorts of all places together
N_RANDOM_PLACES = 5  # where classes have no groups
DRAWN_PAIRS = 5000  # at least, beside each cohort
N_ROUNDS = 20  # of galleries, beside each cohort
CARRIED = 2  # a place holds at least this many times the images of its cohort

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Beside:
    """Pairs and galleries of N items beside cohorts of one size, by one kind of scores."""

    kind: Kind
    size: int
    drawn: ClassPairs
    galleries: tuple[GallerySimulation, ...]
    n_items: int

    def identify(self, fpir: float) -> tuple[IdentifyRow, ...]:
        """Thresholds for the gallery sizes that most places allow."""
        found, rows = self.galleries, list[IdentifyRow]()
        fpir = max(fpir, FALSE_ACCEPTS_NEEDED / self.n_items)
        if not found or fpir > LARGEST_FAR:
            return ()
        for size in sorted({int(size) for one in found for size in one.sizes}):
            able = [
                (one, one.sizes.tolist().index(size)) for one in found if size in one.sizes
            ]
            if 2 * len(able) <= len(found):  # sizes of a few places alone
                continue
            unknown = np.concatenate([one.unknown[i] for one, i in able])
            own = np.concatenate([one.own for one, _ in able])
            others = np.concatenate([one.others[i] for one, i in able])
            rows += fit_identify(unknown[None], [size], fpir, own, others[None])
        return tuple(rows)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A scorer whose embeddings (N, 1) are row numbers of a matrix of scores (N, N)."""

    found: NDArray[Any]
    name: str = "scores"

    def embed(self, addresses: object, side: str = "left") -> NDArray[np.float32]:
        return np.arange(len(self.found), dtype=np.float32)[:, None]

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        scores: NDArray[Any] = self.found[_rows(left), _rows(right)]
        return scores

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        scores: NDArray[Any] = self.found[np.ix_(_rows(left), _rows(right))]
        return scores


def _rows(embeddings: NDArray[Any]) -> Indices:
    return embeddings[:, 0].astype(np.int64)


def beside_cohorts(
    scores: Scores,
    embeddings: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None,
    *,
    far: float,
    seed: int = 0,
) -> list[Beside]:
    """For each size of a cohort that the data carries, the kind that finds most there.

    Args:
        scores: How the model scores pairs.
        embeddings: (N, D) of held-out items.
        labels: (N,) classes of the items.
        groups: (N,) groups that are places, or None for random sets of classes.
        far: False-accept rate at which kinds of scores are compared.
        seed: Seed of every draw.
    """
    places = places_of(labels, groups, seed)
    chosen = []
    for size in _sizes(places):
        able = [rows for rows in places if len(rows) >= CARRIED * size]
        measured = [
            _measure(scores, embeddings, labels, able, kind, size, far, seed)
            for kind in kinds_for(scores)
        ]
        tried = [one for one in measured if one is not None and _is_enough(one.drawn)]
        if tried:
            chosen.append(min(tried, key=lambda one: _missed(one.drawn, far)))
    return chosen


def places_of(labels: Indices, groups: Indices | None, seed: int) -> list[Indices]:
    """The items of each place: a group, or a random half of the classes."""
    if groups is not None:
        return [np.flatnonzero(groups == group) for group in np.unique(groups)]
    classes = np.unique(labels)
    if len(classes) < 2 * CLASSES_NEEDED:
        return [np.arange(len(labels))]
    generator = np.random.default_rng(seed)
    halves = [
        generator.permutation(classes)[: len(classes) // 2] for _ in range(N_RANDOM_PLACES)
    ]
    return [np.flatnonzero(np.isin(labels, half)) for half in halves]


def _sizes(places: list[Indices]) -> list[int]:
    """20 images, and as many up to 200 as half of the places carry."""
    carried = int(np.median([len(rows) for rows in places])) // CARRIED
    sizes = [SMALLEST] if carried >= SMALLEST else []
    return [*sizes, min(carried, LARGE)] if carried >= 2 * SMALLEST else sizes


def _measure(
    scores: Scores,
    embeddings: NDArray[np.float32],
    labels: Indices,
    places: list[Indices],
    kind: Kind,
    size: int,
    far: float,
    seed: int,
) -> Beside | None:
    """Scored pairs and galleries beside cohorts of every place; None if there are none."""
    n_pairs = max(DRAWN_PAIRS, math.ceil(FALSE_ACCEPTS_NEEDED / far / len(places)))
    drawn, galleries, distinct = [], [], []
    generator = np.random.default_rng(seed)
    sizes = np.bincount(labels)
    for number, (cohort, rest) in _splits(places, size, generator):
        answering = scores_of_kind(scores, Cohort(embeddings[cohort]), kind, size)
        found = answering.matrix(embeddings[rest], embeddings[rest]).astype(np.float64)
        weights = 1 / sizes[labels[rest]]
        pairs = _draw(found, labels[rest], weights, n_pairs, generator)
        if pairs is None:
            continue
        drawn.append(pairs)
        distinct.append((number, pairs.n_same, pairs.n_different))
        classes, left = np.unique(labels[rest], return_counts=True)
        if len(classes) > 2:
            share = left / sizes[classes]
            galleries.append(_galleries(found, labels[rest], share, generator))
    if not drawn:
        return None
    n_items = len(np.unique(np.concatenate(places)))  # each is scored beside some cohort
    return Beside(kind, size, _joined(drawn, distinct), tuple(galleries), n_items)


def _draw(
    found: NDArray[np.float64],
    labels: Indices,
    weights: NDArray[np.float64],
    n_pairs: int,
    generator: np.random.Generator,
) -> ClassPairs | None:
    """Up to N same and N different pairs of scored items; None if there are none of a kind.

    An item weighs as much as its share of its class in the whole place. A class of which
    the cohort holds much, and whose scores are lower for it, then counts for less.
    """
    order = np.argsort(labels, kind="stable")
    _, first, number, counts = np.unique(
        labels[order], return_index=True, return_inverse=True, return_counts=True
    )
    several = np.flatnonzero(counts[number] > 1)
    n_same = int((counts * (counts - 1) // 2).sum())
    n_different = len(labels) * (len(labels) - 1) // 2 - n_same
    if not n_same or not n_different:
        return None

    def draw(of: Indices, n: int) -> Indices:
        share = weights[order[of]]
        return generator.choice(of, n, p=share / share.sum())

    a = draw(several, n_pairs)
    of_class, step = number[a], 1 + generator.integers(counts[number[a]] - 1)
    b = first[of_class] + (a - first[of_class] + step) % counts[of_class]
    c, d = (draw(np.arange(len(labels)), 2 * n_pairs) for _ in range(2))
    unlike = np.flatnonzero(number[c] != number[d])[:n_pairs]
    left, right = order[np.append(a, c[unlike])], order[np.append(b, d[unlike])]
    return ClassPairs(
        scores=found[left, right],
        is_same=np.arange(len(left)) < n_pairs,
        left=labels[left],
        right=labels[right],
        n_same=min(n_same, n_pairs),
        n_different=min(n_different, n_pairs),
        pairs="two classes of one place, beside a cohort",
    )


def _galleries(
    found: NDArray[np.float64],
    labels: Indices,
    share: NDArray[np.float64],
    generator: np.random.Generator,
) -> GallerySimulation:
    """Simulated galleries, in which an unknown probe weighs as much as in pairs.

    Args:
        found: (N, N) scores of the items.
        labels: (N,) their classes.
        share: (C,) share of each class that is no part of the cohort.
        generator: Source of every draw.
    """
    scorer = ScoreTable(found)
    rows = scorer.embed(labels)
    simulated = simulate_galleries(
        *(scorer, rows, rows, labels), most_rounds=N_ROUNDS, seed=generator
    )
    kept = (
        generator.random(len(simulated.unknown_classes)) < share[simulated.unknown_classes]
    )
    return dataclasses.replace(
        simulated,
        unknown=simulated.unknown[:, kept],
        unknown_classes=simulated.unknown_classes[kept],
    )


def _n_draws(places: list[Indices]) -> int:
    """Cohorts that are drawn of each place."""
    return max(1, N_DRAWS // len(places))


def _splits(
    places: list[Indices], size: int, generator: np.random.Generator
) -> Iterator[tuple[int, tuple[Indices, Indices]]]:
    """Number of the place, its cohort and the items to score, which are never the same."""
    for number, rows in enumerate(places):
        for _ in range(_n_draws(places)):
            drawn = generator.permutation(rows)
            yield number, (drawn[:size], np.sort(drawn[size : size + MOST_SCORED]))


def _joined(drawn: list[ClassPairs], distinct: list[tuple[int, int, int]]) -> ClassPairs:
    """All pairs as one; a pair that several draws of a place hold counts once."""
    of_place: dict[int, tuple[int, int]] = {}
    for number, n_same, n_different in distinct:
        same, different = of_place.get(number, (0, 0))
        of_place[number] = max(same, n_same), max(different, n_different)
    return dataclasses.replace(
        drawn[0],
        scores=np.concatenate([one.scores for one in drawn]),
        is_same=np.concatenate([one.is_same for one in drawn]),
        left=np.concatenate([one.left for one in drawn]),
        right=np.concatenate([one.right for one in drawn]),
        n_same=sum(same for same, _ in of_place.values()),
        n_different=sum(different for _, different in of_place.values()),
    )


def _is_enough(drawn: ClassPairs) -> bool:
    return (
        drawn.n_classes >= CLASSES_NEEDED
        and drawn.n_different >= FALSE_ACCEPTS_NEEDED / LARGEST_FAR
    )


def _missed(drawn: ClassPairs, far: float) -> float:
    """The share of same pairs that are lost at a false-accept rate."""
    far = max(far, FALSE_ACCEPTS_NEEDED / drawn.n_different)
    threshold = threshold_at_far(drawn.scores, drawn.is_same, far)
    return frr_at(drawn.scores, drawn.is_same, threshold)
