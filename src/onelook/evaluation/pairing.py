"""Which pairs a verification protocol takes, from labels alone."""

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import Dataset, Pairs
from onelook.data.reading import address_parts
from onelook.errors import DataError

Indices = NDArray[np.int64]


def sample_pairs(
    labels: NDArray[np.int64], max_pairs: int | None, seed: int
) -> tuple[Indices, Indices]:
    """All pairs (M,), (M,) of N items, or a balanced sample in which no pair repeats.

    Half of the ``max_pairs`` of a sample are same, if there are enough; these come first.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    n, ends = len(labels), starts + sizes
    same_counts = sizes * (sizes - 1) // 2
    different_counts = sizes * (n - ends)  # partners in later classes
    n_same, n_different = int(same_counts.sum()), int(different_counts.sum())
    if not n_same or not n_different:
        raise DataError(
            f"verification needs same and different pairs; {n} items of "
            f"{len(sizes)} classes make {n_same} same and {n_different} different ones"
        )
    if max_pairs is None or n_same + n_different <= max_pairs:
        left, right = np.triu_indices(n, 1)
        return left.astype(np.int64), right.astype(np.int64)
    generator = np.random.default_rng(seed)
    take_same = min(n_same, max(1, max_pairs // 2, max_pairs - n_different))
    take_different = min(n_different, max_pairs - take_same)
    same = np.sort(generator.choice(n_same, take_same, replace=False, shuffle=False))
    c, rest = _split_flat(same, same_counts)
    # Pair number `rest` of a class: its larger member is the r with r(r-1)/2 <= rest <
    # r(r+1)/2.
    larger = ((1 + np.sqrt(8.0 * rest + 1)) / 2).astype(np.int64)
    smaller = rest - larger * (larger - 1) // 2
    different = generator.choice(n_different, take_different, replace=False, shuffle=False)
    d, other = _split_flat(np.sort(different), different_counts)
    later = n - ends[d]
    left = np.concatenate([starts[c] + smaller, starts[d] + other // later])
    right = np.concatenate([starts[c] + larger, ends[d] + other % later])
    return order[left], order[right]


def draw_pairs(
    labels: Indices,
    n_same: int,
    n_different: int,
    *,
    seed: int | np.random.Generator,
    groups: Indices | None = None,
) -> tuple[Indices, Indices]:
    """Pairs drawn class by class: a class first and then its items, so pairs may repeat.

    Every class counts alike, however many items it has. ``sample_pairs`` takes every pair
    as often as any other instead, so that one person of a hundred photographs outweighs a
    thousand people of two. Same pairs come first; both classes of a different pair are of
    one group.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    group = np.zeros_like(starts) if groups is None else groups[order][starts]
    by_group = np.argsort(group, kind="stable")
    _, group_starts, group_of, group_sizes = np.unique(
        group[by_group], return_index=True, return_inverse=True, return_counts=True
    )
    several = np.flatnonzero(sizes > 1)
    in_company = np.flatnonzero(group_sizes[group_of] > 1)  # places in by_group
    if not len(several) or not len(in_company):
        raise DataError(
            f"pairs need a class of two items and another class; {len(labels)} items are "
            f"of {len(sizes)} classes, {len(several)} of them with two items"
        )
    generator = np.random.default_rng(seed)
    one = generator.choice(several, n_same)
    first = generator.integers(sizes[one])
    second = (first + generator.integers(1, sizes[one])) % sizes[one]
    place = generator.choice(in_company, n_different)
    start, size = group_starts[group_of[place]], group_sizes[group_of[place]]
    other = start + (place - start + generator.integers(1, size)) % size
    a, b = by_group[place], by_group[other]
    left = np.append(starts[one] + first, starts[a] + generator.integers(sizes[a]))
    right = np.append(starts[one] + second, starts[b] + generator.integers(sizes[b]))
    return order[left], order[right]


def koch_pairs(dataset: Dataset, n_pairs: int, seed: int) -> Pairs:
    """Verification pairs as of Koch et al. (2015): every alphabet gives equally many.

    Half of an alphabet's pairs are one character, half two characters of the alphabet (the
    paper does not say whether alphabets mix). With 12, 4 or 4 drawers in ``dataset`` these
    are the training, validation and test sets of the paper; pairs may repeat.
    """
    if n_pairs % 2:
        raise ValueError(
            f"n_pairs must be even, half same and half different, got {n_pairs}"
        )
    if dataset.groups is None:
        raise DataError(f"{dataset.name} has no groups; Koch's pairs are drawn by alphabet")
    generator = np.random.default_rng(seed)
    n_groups = len(dataset.group_names)
    lefts, rights = [], []
    for group in range(n_groups):
        # An even share; the remainder goes one each to the first groups.
        n = n_pairs // 2 // n_groups + (group < n_pairs // 2 % n_groups)
        items = np.flatnonzero(dataset.groups == group)
        left, right = draw_pairs(dataset.labels[items], n, n, seed=generator)
        lefts.append(items[left])
        rights.append(items[right])
    left, right = np.concatenate(lefts), np.concatenate(rights)
    return Pairs(
        left=tuple(dataset.paths[i] for i in left),
        right=tuple(dataset.paths[i] for i in right),
        is_same=dataset.labels[left] == dataset.labels[right],
        source=f"{dataset.name}: {n_pairs:,} pairs within alphabets",
    )


def folder_classes(pairs: Pairs) -> tuple[list[str], list[str]] | None:
    """The folders of the left and right files if they are classes, otherwise ``None``.

    They are if the two files of a pair lie in one folder exactly when the pair is the same.
    """
    if pairs.is_same is None:
        return None
    left = [_folder(address) for address in pairs.left]
    right = [_folder(address) for address in pairs.right]
    alike = np.array([a == b for a, b in zip(left, right, strict=True)])
    return (left, right) if np.array_equal(alike, pairs.is_same) else None


def _folder(address: str) -> str:
    return "/".join(address_parts(address)[:-1])


def _split_flat(flat: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Class of each flat pair number, and its number within the class."""
    ends = np.cumsum(counts)
    classes = np.searchsorted(ends, flat, side="right")
    return classes, flat - (ends - counts)[classes]
