"""Pairing: which pairs a verification protocol takes, from labels alone."""

from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import ARCHIVE_SEPARATOR, Dataset, Pairs
from onelook.errors import DataError

Indices = NDArray[np.int64]


def sample_pairs(
    labels: NDArray[np.int64], max_pairs: int | None, seed: int
) -> tuple[Indices, Indices]:
    """All pairs of N items, or a balanced sample without repetition; nothing is rejected.

    Args:
        labels: (N,) int64.
        max_pairs: Half of them are same pairs as far as there are so many; ``None`` for
            all.
        seed: Of the sample.

    Returns:
        ``left`` and ``right``, (M,) int64 indices of items; same pairs first when sampled.

    Raises:
        DataError: If there is no same or no different pair.
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


def pairs_by_class(
    labels: NDArray[np.int64], n_pairs: int, seed: int
) -> tuple[Indices, Indices]:
    """Pairs as LFW drew its own: a class first, and then its items, however many it has.

    ``sample_pairs`` takes every pair as often as any other, so that one person of a hundred
    photographs outweighs a thousand people of two.

    Args:
        labels: (N,) int64.
        n_pairs: An even number; half of them same, of classes with two items. Pairs repeat.
        seed: Of every draw.

    Returns:
        ``left`` and ``right``, (n_pairs,) int64 indices of items; the same pairs first.

    Raises:
        DataError: If there is no same or no different pair.
    """
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    several = np.flatnonzero(sizes > 1)
    if not len(several) or len(sizes) < 2:
        raise DataError(
            f"pairs need a class of two items and another class; {len(labels)} items are "
            f"of {len(sizes)} classes, {len(several)} of them with two items"
        )
    generator, half = np.random.default_rng(seed), n_pairs // 2
    one = generator.choice(several, half)
    first = generator.integers(sizes[one])
    second = (first + generator.integers(1, sizes[one])) % sizes[one]
    left, step = generator.integers([[len(sizes)], [len(sizes) - 1]], size=(2, half))
    right = (left + 1 + step) % len(sizes)
    left_items = starts[left] + generator.integers(sizes[left])
    right_items = starts[right] + generator.integers(sizes[right])
    return (
        order[np.concatenate([starts[one] + first, left_items])],
        order[np.concatenate([starts[one] + second, right_items])],
    )


def folder_classes(pairs: Pairs) -> tuple[list[str], list[str]] | None:
    """The folder of every left and right file, where it is the class; otherwise ``None``.

    It is where the two files of a pair lie in one folder exactly if the pair is the same.
    """
    if pairs.is_same is None:
        return None
    left = [_folder(address) for address in pairs.left]
    right = [_folder(address) for address in pairs.right]
    alike = np.array([a == b for a, b in zip(left, right, strict=True)])
    return (left, right) if np.array_equal(alike, pairs.is_same) else None


def _folder(address: str) -> str:
    path = address.replace(ARCHIVE_SEPARATOR, "/").replace("\\", "/")
    return str(PurePosixPath(path).parent)


def _split_flat(flat: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Class of each flat pair number, and its number within the class."""
    ends = np.cumsum(counts)
    classes = np.searchsorted(ends, flat, side="right")
    return classes, flat - (ends - counts)[classes]


def whole_classes(labels: NDArray[np.int64], max_items: int, seed: int) -> Indices:
    """Items (M,) of random classes, all of each, about ``max_items`` at most."""
    if len(labels) <= max_items:
        return np.arange(len(labels))
    values, counts = np.unique(labels, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(values))
    n_kept = max(2, int(np.searchsorted(np.cumsum(counts[order]), max_items, "right")))
    return np.flatnonzero(np.isin(labels, values[order[:n_kept]]))


def koch_pairs(
    dataset: Dataset,
    n_pairs: int,
    seed: int,
    negatives: Literal["within", "any"] = "within",
) -> Pairs:
    """Koch's verification sets: every alphabet gives as many pairs, half of them different.

    With 12, 4 or 4 drawers kept in ``dataset`` these are his training sets (30,000, 90,000
    or 150,000 pairs), his validation set and his test set (10,000 pairs). A same pair is
    two items of one random character; pairs may repeat.

    Args:
        dataset: Characters with alphabets as groups.
        n_pairs: An even number.
        seed: Of every draw.
        negatives: Whether the right side of a different pair is of the same alphabet, or of
            any. The paper does not say.

    Raises:
        DataError: If there are no groups, or a group cannot give both kinds of pairs.
        ValueError: If ``n_pairs`` is odd.
    """
    if n_pairs % 2:
        raise ValueError(
            f"n_pairs must be even, half same and half different, got {n_pairs}"
        )
    if dataset.groups is None:
        raise DataError(f"{dataset.name} has no groups; Koch's pairs are drawn by alphabet")
    generator = np.random.default_rng(seed)
    n_groups = len(dataset.group_names)
    lefts, rights, same = [], [], []
    for group in range(n_groups):
        # An even share; the remainder goes one each to the first groups.
        n = n_pairs // 2 // n_groups + (group < n_pairs // 2 % n_groups)
        items = np.flatnonzero(dataset.groups == group)
        where = f"{dataset.name}, {dataset.group_names[group]}"
        left, right = _draw_same(dataset.labels, items, n, generator, where)
        lefts.append(left)
        rights.append(right)
        others = items if negatives == "within" else np.arange(len(dataset))
        left, right = _draw_different(dataset.labels, items, others, n, generator, where)
        lefts.append(left)
        rights.append(right)
        same += [True] * n + [False] * n
    left, right = np.concatenate(lefts), np.concatenate(rights)
    return Pairs(
        left=tuple(dataset.paths[i] for i in left),
        right=tuple(dataset.paths[i] for i in right),
        is_same=np.array(same),
        source=f"{dataset.name}: {n_pairs:,} pairs, negatives {negatives}",
    )


def _draw_same(
    labels: Indices, items: Indices, n: int, generator: np.random.Generator, where: str
) -> tuple[Indices, Indices]:
    """n pairs: a random class of two or more items, then two different ones of it."""
    order = items[np.argsort(labels[items], kind="stable")]
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    usable = np.flatnonzero(sizes > 1)
    if not len(usable):
        raise DataError(f"{where}: no class has two items to make a same pair of")
    c = generator.choice(usable, n)
    first = generator.integers(sizes[c])
    step = generator.integers(1, sizes[c])
    second = (first + step) % sizes[c]
    return order[starts[c] + first], order[starts[c] + second]


def _draw_different(
    labels: Indices,
    items: Indices,
    others: Indices,
    n: int,
    generator: np.random.Generator,
    where: str,
) -> tuple[Indices, Indices]:
    """n pairs: a random one of ``items``, and one of ``others`` of another class."""
    order = others[np.argsort(labels[others], kind="stable")]
    left = generator.choice(items, n)
    starts = np.searchsorted(labels[order], labels[left], side="left")
    ends = np.searchsorted(labels[order], labels[left], side="right")
    outside = len(order) - (ends - starts)
    if n and not outside.min():
        raise DataError(f"{where}: one class only, so no different pair")
    place = generator.integers(outside)
    return left, order[np.where(place < starts, place, place + ends - starts)]
