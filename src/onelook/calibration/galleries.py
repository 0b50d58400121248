"""Simulated galleries, and the thresholds that keep their rate of false accepts in them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelook.decision import FALSE_ACCEPTS_NEEDED, LARGEST_FAR, IdentifyRow, Vote
from onelook.votes import ScoreMatrix, identity_scores

SIZES = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
FPIR = 0.05  # false-positive identification rate of the thresholds
SEVERAL = (2, 3, 5)  # images of an identity
VOTES: tuple[Vote, ...] = ("either", "blend")
CLEARLY = 1.01  # times as many; "either" always knows an image that is enrolled again
MOST_CLASSES = 1000  # in one round
MOST_SCORES = 4_000_000  # of all rounds
MOST_ROUNDS = 200
N_HALVINGS = 20  # of the share of unknown probes, in the search for a threshold

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GallerySimulation:
    """Best matches in galleries of S sizes that hold images of each of their classes.

    N unknown probes are scored with their best match; M known ones with the identity of
    their class, and with the best of the other identities.
    """

    sizes: NDArray[np.int64]  # (S,) numbers of enrolled identities, rising
    unknown: NDArray[np.float64]  # (S, N)
    unknown_classes: Indices  # (N,)
    own: NDArray[np.float64]  # (M,)
    others: NDArray[np.float64]  # (S, M)
    n_classes: int
    n_images: int = 1  # of each identity
    place: int = 0  # that the items are of


def simulate_galleries(
    score_matrix: ScoreMatrix,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None = None,
    *,
    n_images: int = 1,
    vote: Vote = "either",
    sizes: tuple[int, ...] | None = None,
    most_rounds: int = MOST_ROUNDS,
    seed: int = 0,
) -> GallerySimulation:
    """Scores of unknown and known probes in simulated galleries.

    In every round random items of each class are enrolled and another one is the probe. As
    an unknown probe it meets N of the other classes, as a known one its own class and N - 1
    others. Where items have groups, the classes of the probe's own group are enrolled
    first: a letter is mistaken for letters of its own alphabet, and random galleries of
    many alphabets would hold few of these.

    Args:
        score_matrix: Scores (N, M) of embeddings of probes (N, D) and of enrolled (M, D).
        left: (N, D) embeddings of the items.
        right: (N, D) embeddings of the right encoder; ``left`` where there is one encoder.
        labels: (N,) classes of the items.
        groups: (N,) groups of the items, such as alphabets, or None.
        n_images: Images of each identity; classes of fewer are left out.
        vote: How several images of an identity count.
        sizes: Numbers of enrolled identities, rising; by default 1, 2, 5, 10, ... and one
            fewer than there are classes.
        most_rounds: Largest number of rounds.
        seed: Seed of every draw.

    Raises:
        ValueError: If a size is as large as the number of classes.
    """
    enough = np.flatnonzero(np.bincount(labels)[labels] >= n_images)
    labels, left, right = labels[enough], left[enough], right[enough]
    _, first = np.unique(labels, return_index=True)
    class_groups = np.zeros_like(first) if groups is None else groups[enough][first]
    sizes = _possible(sizes, len(first))
    columns = np.array(sizes) - 1
    generator = np.random.default_rng(seed)
    unknown, classes, own, others = [], [], [], []
    most = max(min(len(first), MOST_CLASSES), sizes[-1] + 1)
    for _ in range(max(1, min(most_rounds, MOST_SCORES // most**2))):
        drawn = _draw(labels, n_images, most, generator)
        enrolled = right[drawn.enrolled.ravel()]
        starts = n_images * np.arange(len(drawn.probes))
        scores = identity_scores(score_matrix, left[drawn.probes], enrolled, starts, vote)
        best = _best_of_first(scores, class_groups[drawn.classes], generator)
        unknown.append(best[:, columns].T)
        classes.append(drawn.classes)
        own.append(scores.diagonal()[drawn.is_known])
        fewer = np.insert(best, 0, -np.inf, axis=1)  # one other fewer than enrolled
        others.append(fewer[drawn.is_known][:, columns].T)
    return GallerySimulation(
        sizes=np.array(sizes),
        unknown=np.concatenate(unknown, axis=1),
        unknown_classes=np.concatenate(classes),
        own=np.concatenate(own),
        others=np.concatenate(others, axis=1),
        n_classes=len(first),
        n_images=n_images,
    )


def fit_votes(
    simulate: Callable[[int, Vote], Sequence[GallerySimulation]],
    n_items: int,
    votes: Sequence[Vote] = VOTES,
) -> tuple[Vote, tuple[IdentifyRow, ...]]:
    """Thresholds for identities of one image and of several, by the vote that finds more.

    Args:
        simulate: The galleries of places whose identities have so many images each.
        n_items: Number of distinct items that serve as unknown probes. Where they cannot
            support ``FPIR``, the smallest rate that they can is taken.
        votes: The votes to choose from; a later one has to find clearly more.
    """
    fpir = max(FPIR, FALSE_ACCEPTS_NEEDED / n_items)
    if fpir > LARGEST_FAR:
        return votes[0], ()
    several = {
        vote: [row for n in SEVERAL for row in fit_rows(simulate(n, vote), fpir)]
        for vote in votes
    }
    best = votes[0]
    for vote in votes[1:]:
        if _found(several[vote]) > CLEARLY * _found(several[best]):
            best = vote
    return best, (*fit_rows(simulate(1, best), fpir), *several[best])


def _found(rows: Sequence[IdentifyRow]) -> float:
    return sum(row.known or 0.0 for row in rows)


def fit_rows(found: Sequence[GallerySimulation], fpir: float) -> list[IdentifyRow]:
    """A threshold for each size of gallery that most places allow.

    ``found`` are the galleries of each place, with one number of images.
    """
    rows = []
    for size in sorted({int(size) for one in found for size in one.sizes}):
        able = [(one, one.sizes.tolist().index(size)) for one in found if size in one.sizes]
        if 2 * len(able) <= len(found):  # a few places alone
            continue
        places = np.repeat(
            [one.place for one, _ in able], [len(one.unknown[i]) for one, i in able]
        )
        unknown = np.concatenate([one.unknown[i] for one, i in able])
        own = np.concatenate([one.own for one, _ in able])
        others = np.concatenate([one.others[i] for one, i in able])
        threshold = threshold_for_places(unknown, places, fpir)
        found_own = (own >= threshold) & (own > others)
        rows.append(
            IdentifyRow(
                gallery_size=size,
                threshold=threshold,
                fpir=rate_elsewhere(unknown >= threshold, places),
                known=float(found_own.mean()) if len(own) else None,
                n_images=found[0].n_images,
            )
        )
    return rows


def threshold_for_places(
    unknown: NDArray[np.float64], places: Indices, fpir: float
) -> float:
    """As ``threshold_at_fpir``, for a place other than those (N,) that the probes are of.

    The share that reaches it is at most ``fpir`` even with one standard error over the
    places added.
    """
    allowed, too_many = 0.0, fpir
    threshold = threshold_at_fpir(unknown, fpir)
    if rate_elsewhere(unknown >= threshold, places) <= fpir:
        return threshold
    for _ in range(N_HALVINGS):
        middle = (allowed + too_many) / 2
        threshold = threshold_at_fpir(unknown, middle)
        if rate_elsewhere(unknown >= threshold, places) <= fpir:
            allowed = middle
        else:
            too_many = middle
    return threshold_at_fpir(unknown, allowed)


def rate_elsewhere(is_accepted: NDArray[np.bool_], places: Indices) -> float:
    """The share that is accepted and, of three places or more, its standard error.

    A few places may be easier by chance than the one where the threshold is used.
    ``is_accepted`` (N,) says which unknown probes were falsely accepted.
    """
    rates = [is_accepted[places == place].mean() for place in np.unique(places)]
    error = np.std(rates, ddof=1) / math.sqrt(len(rates)) if len(rates) >= 3 else 0.0
    return float(is_accepted.mean() + error)


def threshold_at_fpir(unknown: NDArray[np.float64], fpir: float) -> float:
    """The lowest threshold, halfway between scores (N,), that few of the unknown reach."""
    falling = -np.sort(-unknown)
    k = math.floor(fpir * len(falling) + 1e-9)
    if k >= len(falling):
        return float(falling[-1])
    below = falling[k]
    above = falling[falling > below]
    if not len(above):
        return float(np.nextafter(below, np.inf))
    return float(below + (above[-1] - below) / 2)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Items of a round: ``probes`` (C,), ``enrolled`` (C, n_images) of ``classes`` (C,).

    ``is_known`` (C,) says where the probe is none of the enrolled items.
    """

    classes: Indices
    probes: Indices
    enrolled: Indices
    is_known: NDArray[np.bool_]


def _draw(
    labels: Indices, n_images: int, most: int, generator: np.random.Generator
) -> _Drawn:
    _, counts = np.unique(labels, return_counts=True)
    classes = np.sort(generator.permutation(len(counts))[:most])
    shuffled = np.lexsort((generator.random(len(labels)), labels))
    starts, counts = (np.cumsum(counts) - counts)[classes], counts[classes]
    return _Drawn(
        classes=classes,
        probes=shuffled[starts + n_images % counts],  # enrolled, if there is no other
        enrolled=shuffled[starts[:, None] + np.arange(n_images)],
        is_known=counts > n_images,
    )


def _possible(sizes: tuple[int, ...] | None, n_classes: int) -> tuple[int, ...]:
    """The sizes asked for, or those that the classes allow."""
    if sizes is None:
        largest = min(n_classes, MOST_CLASSES) - 1
        sizes = (*(size for size in SIZES if size < largest), largest)
    if not sizes or sizes[-1] >= n_classes:
        raise ValueError(
            f"galleries of {sizes} need more than {n_classes} classes: the unknown probe "
            "is of one of them"
        )
    return sizes


def _best_of_first(
    scores: NDArray[np.float64], groups: Indices, generator: np.random.Generator
) -> NDArray[np.float64]:
    """(C, C - 1) best scores of each probe with the first 1, 2, ... other classes.

    The (C, C) ``scores`` are of probes (rows) with enrolled items, their own on the
    diagonal. Classes come in random order, those of the probe's own group first.
    """
    rank = generator.random(scores.shape) + (groups[:, None] != groups)
    np.fill_diagonal(rank, np.inf)
    nearest_first = np.argsort(rank, axis=1)[:, :-1]
    return np.maximum.accumulate(np.take_along_axis(scores, nearest_first, 1), axis=1)
