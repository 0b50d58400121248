"""The scored pairs of a calibration, in which every class counts alike."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import Pairs, connected_components
from onelook.errors import DataError
from onelook.evaluation.pairing import draw_pairs, folder_classes
from onelook.evaluation.scorer import Scorer, score_pairs, score_rows

MOST_DRAWS = 50_000  # of same pairs, and of different pairs
DRAWS_OF_PAIR = 10  # of each distinct pair, where there are few
N_FOLDS = 5

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassPairs:
    """Scored pairs, drawn class by class so that no class outweighs the others.

    ``left`` and ``right`` (N,) are the classes of both sides. ``n_same`` and
    ``n_different`` count distinct pairs, since few pairs are repeated; ``pairs`` says what
    a different one is.
    """

    scores: NDArray[np.float64]
    is_same: NDArray[np.bool_]
    left: Indices
    right: Indices
    n_same: int
    n_different: int
    pairs: str

    @classmethod
    def listed(
        cls,
        scores: NDArray[np.float64],
        is_same: NDArray[np.bool_],
        left: Indices,
        right: Indices,
    ) -> "ClassPairs":
        """The pairs of a list, none of which is repeated."""
        n_same, n_different = int(is_same.sum()), int((~is_same).sum())
        return cls(scores, is_same, left, right, n_same, n_different, "as listed")

    @property
    def n_classes(self) -> int:
        return len(np.union1d(self.left, self.right))

    def subset(self, keep: NDArray[np.bool_]) -> "ClassPairs":
        columns = ("scores", "is_same", "left", "right")
        return dataclasses.replace(self, **{c: getattr(self, c)[keep] for c in columns})


def useful_groups(labels: Indices, groups: Indices | None) -> Indices | None:
    """The groups, or None if at most half of the classes share theirs with another."""
    if groups is None:
        return None
    classes, first = np.unique(labels, return_index=True)
    _, group, sizes = np.unique(groups[first], return_inverse=True, return_counts=True)
    in_company = (sizes[group] > 1).mean()
    return groups if len(sizes) > 1 and in_company > 0.5 else None


def score_drawn_pairs(
    scorer: Scorer,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: Indices,
    groups: Indices | None,
    *,
    seed: int,
    n_different: int = MOST_DRAWS,
) -> ClassPairs:
    """Scored same and different pairs of labelled items, drawn class by class.

    Fewer pairs are drawn where few exist. Different pairs are drawn within groups, if any.
    """
    classes, first, class_of, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    group = np.zeros_like(sizes) if groups is None else groups[first]
    n_same = int((sizes * (sizes - 1) // 2).sum())
    of_group = np.bincount(group - group.min(), sizes)
    distinct = int((of_group**2).sum() - (sizes**2).sum()) // 2
    if not n_same or not distinct:
        raise ValueError(
            f"calibration needs same and different pairs; {len(labels)} items of "
            f"{len(classes)} classes make {n_same} same and {distinct} different ones; "
            "it needs two images of most classes"
        )
    same = min(MOST_DRAWS, DRAWS_OF_PAIR * n_same)
    different = min(n_different, DRAWS_OF_PAIR * distinct)
    rows = draw_pairs(labels, same, different, seed=seed, groups=groups)
    return ClassPairs(
        scores=score_rows(scorer, left, right, *rows),
        is_same=np.arange(same + different) < same,
        left=class_of[rows[0]],
        right=class_of[rows[1]],
        n_same=min(n_same, same),
        n_different=min(distinct, different),
        pairs="any two classes" if groups is None else "two classes of one group",
    )


def folds_of(labels: Indices, groups: Indices | None, seed: int) -> Indices:
    """(C,) fold of each class; three groups or more are kept whole."""
    classes, first = np.unique(labels, return_index=True)
    units = np.arange(len(classes))
    if groups is not None and len(np.unique(groups)) >= 3:
        units = np.unique(groups[first], return_inverse=True)[1]
    n_units = int(units.max()) + 1
    folds = np.random.default_rng(seed).permutation(n_units) % min(N_FOLDS, n_units)
    return folds[units]


def listed_pairs(scorer: Scorer, pairs: Pairs) -> ClassPairs:
    """The scored pairs of a list.

    Where the folders of the files are no classes, files joined by "same" pairs are.
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
        of_file = connected_components(len(files), a[pairs.is_same], b[pairs.is_same])
        left, right = of_file[a], of_file[b]
    else:
        _, classes = np.unique([*names[0], *names[1]], return_inverse=True)
        left, right = np.split(classes, 2)
    scores = score_pairs(scorer, pairs.left, pairs.right)
    return ClassPairs.listed(scores, pairs.is_same, left, right)
