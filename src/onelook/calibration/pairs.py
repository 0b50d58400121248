"""Scored pairs of labelled items in which every class counts alike; calibration's pairs."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from onelook.data.items import Pairs
from onelook.errors import DataError
from onelook.evaluation.pairing import folder_classes
from onelook.evaluation.scorer import Scorer, score_pairs, score_rows

MOST_DRAWS = 50_000  # of same pairs, and of different pairs
DRAWS_OF_PAIR = 10  # of each distinct pair, where there are few
N_FOLDS = 5

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassPairs:
    """Scored pairs of items, a class drawn first and then its items, so that no class of
    many items outweighs the others; pairs repeat where there are few.

    Args:
        scores: (N,), larger = more alike.
        is_same: (N,) bool.
        left, right: (N,) classes of both sides.
        n_same, n_different: Distinct pairs behind them.
        pairs: What a different pair is made of, for people.
    """

    scores: NDArray[np.float64]
    is_same: NDArray[np.bool_]
    left: Indices
    right: Indices
    n_same: int
    n_different: int
    pairs: str

    @property
    def n_classes(self) -> int:
        return len(np.union1d(self.left, self.right))

    def subset(self, keep: NDArray[np.bool_]) -> "ClassPairs":
        columns = ("scores", "is_same", "left", "right")
        return dataclasses.replace(self, **{c: getattr(self, c)[keep] for c in columns})


def useful_groups(labels: Indices, groups: Indices | None) -> Indices | None:
    """The groups, or None where hardly any two classes share one."""
    if groups is None:
        return None
    classes, first = np.unique(labels, return_index=True)
    _, group, sizes = np.unique(groups[first], return_inverse=True, return_counts=True)
    in_company = (sizes[group] > 1).mean()
    return groups if len(sizes) > 1 and in_company > 0.5 else None


def draw_pairs(
    scorer: Scorer,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None,
    seed: int,
    n_different: int = MOST_DRAWS,
) -> ClassPairs:
    """Same pairs and different pairs of labelled items, scored.

    Args:
        groups: (N,); the two classes of a different pair are then of one group.
        n_different: Different pairs wanted; fewer are drawn where there are few.

    Raises:
        ValueError: If there is no same or no different pair.
    """
    order = np.argsort(labels, kind="stable")
    classes, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    group = np.zeros_like(classes) if groups is None else groups[order][starts]
    n_same = int((sizes * (sizes - 1) // 2).sum())
    of_group = np.bincount(group - group.min(), sizes)
    there = int((of_group**2).sum() - (sizes**2).sum()) // 2
    if not n_same or not there:
        raise ValueError(
            f"calibration needs same and different pairs; {len(labels)} items of "
            f"{len(classes)} classes make {n_same} same and {there} different ones; "
            "it needs two images of most classes"
        )
    generator = np.random.default_rng(seed)
    draws = [
        min(MOST_DRAWS, DRAWS_OF_PAIR * n_same),
        min(n_different, DRAWS_OF_PAIR * there),
    ]
    one = generator.choice(np.flatnonzero(sizes > 1), draws[0])
    first = generator.integers(sizes[one])
    second = (first + generator.integers(1, sizes[one])) % sizes[one]
    a, b = _two_classes(group, draws[1], generator)
    left_items = np.append(starts[one] + first, starts[a] + generator.integers(sizes[a]))
    right_items = np.append(starts[one] + second, starts[b] + generator.integers(sizes[b]))
    return ClassPairs(
        score_rows(scorer, left, right, order[left_items], order[right_items]),
        np.arange(sum(draws)) < draws[0],
        np.append(one, a),
        np.append(one, b),
        min(n_same, draws[0]),
        min(there, draws[1]),
        "any two classes" if groups is None else "two classes of one group",
    )


def _two_classes(
    group: Indices, n: int, generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """n pairs of different classes of one group: any class, then another of its group."""
    order = np.argsort(group, kind="stable")
    _, starts, inverse, sizes = np.unique(
        group[order], return_index=True, return_inverse=True, return_counts=True
    )
    place = generator.choice(np.flatnonzero(sizes[inverse] > 1), n)
    start, size = starts[inverse[place]], sizes[inverse[place]]
    other = start + (place - start + generator.integers(1, size)) % size
    return order[place], order[other]


def folds_of(labels: Indices, groups: Indices | None, seed: int) -> Indices:
    """(C,) fold of each class: whole groups where there are three, else single classes."""
    classes, first = np.unique(labels, return_index=True)
    units = np.arange(len(classes))
    if groups is not None and len(np.unique(groups)) >= 3:
        units = np.unique(groups[first], return_inverse=True)[1]
    n_units = int(units.max()) + 1
    folds = np.random.default_rng(seed).permutation(n_units) % min(N_FOLDS, n_units)
    return folds[units]


def listed_pairs(scorer: Scorer, pairs: Pairs) -> ClassPairs:
    """The pairs of a list, scored; files joined by "same" pairs are one class where their
    folders do not say it.

    Raises:
        DataError: If the list does not say which pairs are the same.
    """
    if pairs.is_same is None:
        raise DataError(
            f"{pairs.source}: its pairs are graded, not same or different; a threshold "
            "needs pairs that are one or the other"
        )
    names = folder_classes(pairs)
    if names is None:
        files, rows = np.unique([*pairs.left, *pairs.right], return_inverse=True)
        a, b = rows[: len(pairs)], rows[len(pairs) :]
        joined = (np.ones(int(pairs.is_same.sum())), (a[pairs.is_same], b[pairs.is_same]))
        graph = coo_matrix(joined, (len(files), len(files)))
        of_file = connected_components(graph)[1]
        left, right = of_file[a], of_file[b]
    else:
        left, right = np.unique([*names[0], *names[1]], return_inverse=True)[1].reshape(
            2, -1
        )
    return ClassPairs(
        score_pairs(scorer, pairs.left, pairs.right),
        pairs.is_same,
        left.astype(np.int64),
        right.astype(np.int64),
        int(pairs.is_same.sum()),
        int((~pairs.is_same).sum()),
        "as listed",
    )
