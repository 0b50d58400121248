"""Which items meet in a batch: pairs, triplets, or classes x images, from labels alone.

No image is opened here. A sampler has no state but the step number: ``batch(step)`` is a
pure function of the seed and the step, so that a resumed training sees the same batches as
an unbroken one.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelook.data.label_runs import LabelRuns, draw_distinct
from onelook.errors import DataError

Indices = NDArray[np.int64]

# A class of one item has no pair to learn from.
FEWEST_OF_CLASS = 2


@dataclass(frozen=True, eq=False)
class Batch:
    """What to encode (``items``, one slot each) and which slots meet.

    Indices of ``items`` are virtual if quarter turns make new classes.
    """

    items: Indices
    labels: Indices | None = None
    left: Indices | None = None
    right: Indices | None = None
    is_same: NDArray[np.bool_] | None = None
    targets: NDArray[np.float32] | None = None
    anchor: Indices | None = None
    positive: Indices | None = None
    negative: Indices | None = None


class Sampler(Protocol):
    """What the training loop needs of a sampler."""

    steps_per_epoch: int

    def batch(self, step: int) -> Batch:
        """The batch of step 0, 1, 2, ...: the same for the same seed and step."""


class BalancedPairs:
    """Random pairs, half same and half different, drawn in constant time.

    The left item is drawn uniformly from all items (for a same pair: from the classes that
    have two); its partner is another item of its class, or uniformly one of the items of
    all other classes, never the item itself. Each occurrence has its own slot. If
    ``batch_size`` is odd, the odd pair is same in even steps and different in odd ones.

    Args:
        groups: (N,) int64, such as the alphabet of each item; a class lies in one group.
        within_group: Fraction of the different pairs that is drawn within one group, in
            [0, 1]; an item whose group has no other class meets any other class. The other
            pairs may share a group by chance.
        per_epoch: Number of pairs in an epoch; 0 = one for each item.

    Example:
        >>> pairs = BalancedPairs([0, 0, 1, 1, 2, 2], batch_size=4, seed=0)
        >>> pairs.batch(0).is_same.tolist(), pairs.steps_per_epoch
        ([True, False, True, False], 2)
    """

    what = "balanced pairs"

    def __init__(
        self,
        labels: ArrayLike,
        batch_size: int,
        seed: int,
        *,
        groups: ArrayLike | None = None,
        within_group: float = 0.0,
        per_epoch: int = 0,
    ) -> None:
        self._runs = LabelRuns(labels, groups)
        self._runs.require_pairs(self.what)
        self._within_group = self._runs.check_within_group(within_group)
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = _steps(len(self._runs.order), batch_size, per_epoch)

    def batch(self, step: int) -> Batch:
        """``batch_size`` pairs, same and different in turn."""
        runs, count = self._runs, self.batch_size
        rng = np.random.default_rng((self.seed, step))
        is_same = (np.arange(count) + step) % 2 == 0
        paired = runs.in_pairs[rng.integers(len(runs.in_pairs), size=count)]
        left = np.where(is_same, paired, rng.integers(len(runs.order), size=count))
        same = runs.draw_same(rng, left)
        right = np.where(is_same, same, runs.draw_different(rng, left, self._within_group))
        items = runs.order[np.concatenate([left, right])]
        first, second = np.arange(2 * count).reshape(2, count)
        return Batch(items, runs.labels[items], first, second, is_same)


class Triplets(BalancedPairs):
    """Random triplets: an anchor, another item of its class, and an item of another class.

    Anchors are drawn uniformly from the items of classes that have two. Arguments and
    errors are those of ``BalancedPairs``; ``within_group`` is a fraction of the negatives.
    """

    what = "triplets"

    def batch(self, step: int) -> Batch:
        """``batch_size`` triplets, one slot for each occurrence."""
        runs, count = self._runs, self.batch_size
        rng = np.random.default_rng((self.seed, step))
        anchor = runs.in_pairs[rng.integers(len(runs.in_pairs), size=count)]
        positive = runs.draw_same(rng, anchor)
        negative = runs.draw_different(rng, anchor, self._within_group)
        items = runs.order[np.concatenate([anchor, positive, negative])]
        first, second, third = np.arange(3 * count).reshape(3, count)
        labels = runs.labels[items]
        return Batch(items, labels, anchor=first, positive=second, negative=third)


class ClassBatches:
    """P x K batches: ``classes_per_batch`` classes, ``samples_per_class`` items of each.

    No class and no item occurs twice in a batch; slots are class-major. Classes with fewer
    items than ``samples_per_class`` give all they have; those of one item are left out.

    Args:
        within_group: Probability that a batch takes its classes from one group, in [0, 1];
            a group with fewer classes than P is taken whole, and others fill the batch.
        rotations: 4 makes quarter-turned images new classes. ``Batch.items`` then holds
            *virtual* items v in [0, 4N), item v % N turned v // N times by 90 degrees, for
            ``split_virtual`` to take apart.
        per_epoch: Number of items in an epoch; 0 = each once.

    Example:
        >>> batch = ClassBatches([0, 0, 1, 1, 1, 2], 2, 2, seed=0).batch(0)
        >>> sorted(batch.labels.tolist())
        [0, 0, 1, 1]
    """

    def __init__(
        self,
        labels: ArrayLike,
        classes_per_batch: int,
        samples_per_class: int,
        *,
        seed: int,
        groups: ArrayLike | None = None,
        within_group: float = 0.0,
        rotations: int = 1,
        per_epoch: int = 0,
    ) -> None:
        turned_groups = None if groups is None else turned(groups, rotations)
        self._runs = LabelRuns(turned(labels, rotations), turned_groups)
        self._within_group = self._runs.check_within_group(within_group)
        fewest = min(FEWEST_OF_CLASS, samples_per_class)
        usable = np.flatnonzero(self._runs.class_sizes >= fewest)
        if len(usable) < classes_per_batch:
            raise DataError(
                f"classes_per_batch={classes_per_batch} needs {classes_per_batch} classes "
                f"with at least {fewest} images; "
                f"{len(usable)} of {len(self._runs.class_sizes)} classes have them"
            )
        self.classes_per_batch = classes_per_batch
        self.samples_per_class = samples_per_class
        self.seed = seed
        self._starts = self._runs.class_starts[usable]
        self._sizes = self._runs.class_sizes[usable]
        # Where the group of each usable class begins and ends among the usable classes.
        groups_of = self._runs.class_groups[usable]
        self._group_starts = np.searchsorted(groups_of, groups_of, side="left")
        self._group_ends = np.searchsorted(groups_of, groups_of, side="right")
        a_batch = classes_per_batch * np.minimum(self._sizes, samples_per_class).mean()
        self.steps_per_epoch = _steps(int(self._sizes.sum()), round(a_batch), per_epoch)

    def batch(self, step: int) -> Batch:
        """P x K distinct items, or fewer."""
        rng = np.random.default_rng((self.seed, step))
        classes = self._draw_classes(rng)
        sizes, wanted = self._sizes[classes], self.samples_per_class
        # A smaller class is drawn whole: the ranks that it does not have are dropped.
        ranks = draw_distinct(rng, np.maximum(sizes, wanted), wanted)  # (P, K)
        places = self._starts[classes][:, None] + ranks
        items = self._runs.order[places[ranks < sizes[:, None]]]  # (P * K,) or shorter
        return Batch(items, self._runs.labels[items])

    def _draw_classes(self, rng: np.random.Generator) -> Indices:
        wanted, n_classes = self.classes_per_batch, len(self._starts)
        if rng.random() >= self._within_group:
            return rng.choice(n_classes, wanted, replace=False)
        one = int(rng.integers(n_classes))
        start, end = int(self._group_starts[one]), int(self._group_ends[one])
        size = end - start
        if size >= wanted:
            return start + rng.choice(size, wanted, replace=False)
        others = rng.choice(n_classes - size, wanted - size, replace=False)
        return np.concatenate([np.arange(start, end), (end + others) % n_classes])


class PairListBatches:
    """The given pairs (P,), each once in an epoch, shuffled again for every epoch.

    An epoch is cut into batches of nearly equal size, at most ``batch_size``, so that no
    tiny batch is left over. Slots are the M left items and then the M right items; without
    right items, items of the same number in two collections are a pair, which then has one
    slot. Either ``is_same`` or graded ``targets`` are given.
    """

    def __init__(
        self,
        left_items: ArrayLike,
        right_items: ArrayLike | None,
        batch_size: int,
        *,
        seed: int,
        is_same: ArrayLike | None = None,
        targets: ArrayLike | None = None,
    ) -> None:
        sides = [left_items] if right_items is None else [left_items, right_items]
        self._sides = [np.asarray(side, dtype=np.int64) for side in sides]
        self._is_same = None if is_same is None else np.asarray(is_same, dtype=np.bool_)
        self._targets = None if targets is None else np.asarray(targets, dtype=np.float32)
        truth = self._is_same if self._targets is None else self._targets
        assert truth is not None
        assert len(self._sides[0]) == len(self._sides[-1]) == len(truth)
        if len(truth) == 0:
            raise DataError("the pair list is empty; a batch needs at least one pair")
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = _steps(len(truth), batch_size)
        self._shuffled: tuple[int, Indices] = (-1, self._sides[0])  # epoch, permutation

    def batch(self, step: int) -> Batch:
        """The pairs of one step; epochs follow each other without a break."""
        epoch, place = divmod(step, self.steps_per_epoch)
        shuffled_epoch, order = self._shuffled
        if shuffled_epoch != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(order))
            self._shuffled = (epoch, order)
        start, end = (
            len(order) * part // self.steps_per_epoch for part in (place, place + 1)
        )
        chosen = order[start:end]
        items = np.concatenate([side[chosen] for side in self._sides])
        slots = np.arange(len(items))
        return Batch(
            items=items,
            left=slots[: len(chosen)],
            right=slots[-len(chosen) :],
            is_same=None if self._is_same is None else self._is_same[chosen],
            targets=None if self._targets is None else self._targets[chosen],
        )


def turned(column: ArrayLike, rotations: int) -> Indices:
    """Labels or groups of virtual items: the given ones, then new ones for each turn.

    ``turned(labels, 4)`` is (4N,): label + C * turns of virtual item turns * N + item,
    where C is the largest label + 1. Any sampler on it gives virtual items.
    """
    values = np.asarray(column, dtype=np.int64)
    step = int(values.max()) + 1 if len(values) else 0
    return (values[None, :] + step * np.arange(rotations)[:, None]).ravel()


def split_virtual(items: Indices, n: int) -> tuple[Indices, Indices]:
    """Items (v % n) and quarter turns (v // n) of virtual items v of n items."""
    turns, real = np.divmod(items, n)
    return real, turns


def _steps(n_items: int, batch_size: int, per_epoch: int = 0) -> int:
    """Steps an epoch of ``per_epoch`` draws, or of one for each item."""
    return max(1, -(-(per_epoch or n_items) // batch_size))
