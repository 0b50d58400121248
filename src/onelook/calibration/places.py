"""Decisions beside cohorts, fitted on simulated places of held-out classes.

A place is a group of classes, such as an alphabet, or else a random set of classes. Some of
its images are the cohort, without their labels; the others are scored beside it.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.galleries import GallerySimulation, simulate_galleries
from onelook.calibration.pairs import ClassPairs
from onelook.cohort import LARGE, SMALLEST, Cohort, kinds_for, scores_of_kind
from onelook.decision import FALSE_ACCEPTS_NEEDED, LARGEST_FAR, Kind, Vote
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
class Part:
    """The N images of a place that are no part of its cohort."""

    scores: Scores  # beside the cohort
    embeddings: NDArray[np.float32]  # (N, D)
    labels: Indices  # (N,)
    weights: NDArray[np.float64]  # (N,) one image's share of its class in the whole place
    place: int

    def simulate(self, n_images: int, vote: Vote, seed: int) -> GallerySimulation:
        """Galleries in which an unknown probe weighs as much as in pairs."""
        found = simulate_galleries(
            *(self.scores.matrix, self.embeddings, self.embeddings, self.labels),
            n_images=n_images,
            vote=vote,
            most_rounds=N_ROUNDS,
            seed=seed,
        )
        enough = np.bincount(self.labels)[self.labels] >= n_images
        _, of_class = np.unique(self.labels[enough], return_inverse=True)
        share = np.bincount(of_class, self.weights[enough])[found.unknown_classes]
        kept = np.random.default_rng(seed).random(len(share)) < share
        return dataclasses.replace(
            found,
            unknown=found.unknown[:, kept],
            unknown_classes=found.unknown_classes[kept],
            place=self.place,
        )


@dataclass(frozen=True, eq=False)
class BesideCohorts:
    """Pairs and galleries beside cohorts of one size, by one kind of scores."""

    kind: Kind
    size: int  # images of each cohort
    drawn: ClassPairs
    parts: tuple[Part, ...]  # what galleries are made of, beside each cohort
    n_items: int  # distinct images in the parts
    seed: int

    def simulate(self, n_images: int, vote: Vote) -> list[GallerySimulation]:
        """Galleries beside each cohort whose place has classes enough."""
        return [
            part.simulate(n_images, vote, self.seed + number)
            for number, part in enumerate(self.parts)
            if (np.bincount(part.labels) >= n_images).sum() > 2
        ]


def beside_cohorts(
    scores: Scores,
    embeddings: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None,
    *,
    far: float,
    seed: int = 0,
) -> list[BesideCohorts]:
    """For each size of a cohort that the data carries, the kind that finds most there.

    The held-out items have embeddings (N, D), labels (N,) and groups (N,), which are
    places; without groups, places are random sets of classes. Kinds are compared at
    ``far``.
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
) -> BesideCohorts | None:
    """Scored pairs and galleries beside cohorts of every place; None if there are none."""
    n_pairs = max(DRAWN_PAIRS, math.ceil(FALSE_ACCEPTS_NEEDED / far / len(places)))
    drawn, parts, distinct = [], [], []
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
        parts.append(Part(answering, embeddings[rest], labels[rest], weights, number))
    if not drawn:
        return None
    n_items = len(np.unique(np.concatenate(places)))  # each is scored beside some cohort
    return BesideCohorts(kind, size, _joined(drawn, distinct), tuple(parts), n_items, seed)


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
