"""Simulated galleries: scores of unknown and known probes in galleries of many sizes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelook.evaluation.scorer import Scorer
from onelook.metrics import to_numpy

SIZES = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
MOST_CLASSES = 1000  # in one round
MOST_SCORES = 4_000_000  # of all rounds
MOST_ROUNDS = 200

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GallerySimulation:
    """Best matches in galleries of S sizes that hold one item of each of their classes.

    Args:
        sizes: (S,) numbers of enrolled items, rising.
        unknown: (S, N) scores of unknown probes with their best match.
        unknown_classes: (N,) classes of the unknown probes.
        own: (M,) scores of known probes with the enrolled item of their class.
        others: (S, M) scores of known probes with the best of the other items.
        n_items: Number of distinct items that served as unknown probes.
        n_classes: Number of classes of the items.
    """

    sizes: NDArray[np.int64]
    unknown: NDArray[np.float64]
    unknown_classes: Indices
    own: NDArray[np.float64]
    others: NDArray[np.float64]
    n_items: int
    n_classes: int


def simulate_galleries(
    scorer: Scorer,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None = None,
    *,
    sizes: tuple[int, ...] | None = None,
    most_rounds: int = MOST_ROUNDS,
    seed: int | np.random.Generator = 0,
) -> GallerySimulation:
    """Scores of unknown and known probes in simulated galleries.

    In every round one random item of each class is enrolled and another one is the probe.
    As an unknown probe it meets N of the other classes, as a known one its own class and
    N - 1 others. Where items have groups, the classes of the probe's own group are enrolled
    first: a letter is mistaken for letters of its own alphabet, and random galleries of
    many alphabets would hold few of these.

    Args:
        scorer: Model that compares embeddings, with the probes on its left side.
        left: (N, D) embeddings of the items.
        right: (N, D) embeddings of the right encoder; ``left`` where there is one encoder.
        labels: (N,) classes of the items.
        groups: (N,) groups of the items, such as alphabets, or None.
        sizes: Numbers of enrolled items, rising; by default 1, 2, 5, 10, ... and one fewer
            than there are classes.
        most_rounds: Largest number of rounds.
        seed: Seed of every draw, or the generator to draw from.

    Raises:
        ValueError: If a size is as large as the number of classes.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    class_groups = np.zeros_like(starts) if groups is None else groups[order][starts]
    n_classes = len(starts)
    most = min(n_classes, MOST_CLASSES)
    sizes = _possible(sizes, n_classes)
    generator = np.random.default_rng(seed)
    n_rounds = max(1, min(most_rounds, MOST_SCORES // most**2))
    unknown, classes, own, others = [], [], [], []
    for _ in range(n_rounds):
        chosen = np.sort(generator.permutation(n_classes)[: max(most, sizes[-1] + 1)])
        enrolled = generator.integers(counts[chosen])
        step = 1 + generator.integers(np.maximum(counts[chosen] - 1, 1))
        probe = (enrolled + step) % counts[chosen]  # the enrolled item if there is no other
        probes = left[order[starts[chosen] + probe]]
        gallery = right[order[starts[chosen] + enrolled]]
        scores = to_numpy(scorer.score_matrix(probes, gallery)).astype(np.float64)
        best = _best_of_first(scores, class_groups[chosen], generator)
        unknown.append(best[:, np.array(sizes) - 1].T)
        classes.append(chosen)
        several = counts[chosen] > 1
        own.append(scores.diagonal()[several])
        fewer = np.insert(best, 0, -np.inf, axis=1)  # one other fewer than enrolled
        others.append(fewer[several][:, np.array(sizes) - 1].T)
    return GallerySimulation(
        sizes=np.array(sizes),
        unknown=np.concatenate(unknown, axis=1),
        unknown_classes=np.concatenate(classes),
        own=np.concatenate(own),
        others=np.concatenate(others, axis=1),
        n_items=len(labels),
        n_classes=n_classes,
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
