"""Items sorted by class, for draws in constant time however many classes there are."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onelook.errors import DataError

Indices = NDArray[np.int64]


class LabelRuns:
    """Items sorted so that each group, each class in it and each drawer in that is one run.

    A partner is then an offset from the end of a run: one draw, never a second try.
    """

    def __init__(
        self,
        labels: ArrayLike,
        groups: ArrayLike | None = None,
        drawers: ArrayLike | None = None,
    ) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        drawer_of, group_of = (
            np.zeros_like(self.labels) if column is None else np.asarray(column, np.int64)
            for column in (drawers, groups)
        )
        self.has_groups, self.has_drawers = groups is not None, drawers is not None
        self.order = np.lexsort((drawer_of, self.labels, group_of)).astype(np.int64)
        label_at, group_at, drawer_at = (
            column[self.order] for column in (self.labels, group_of, drawer_of)
        )
        self.class_starts, self.class_sizes = _find_runs(label_at, group_at)
        names, times = np.unique(label_at[self.class_starts], return_counts=True)
        if (times > 1).any():
            raise ValueError(
                f"a class must lie in one group, but class {names[times > 1][0]} "
                f"lies in {times.max()}"
            )
        # Groups, counted from 0 in sorted order.
        starts, sizes = _find_runs(group_at)
        self.group_values = group_at[starts]
        self.class_groups = np.searchsorted(starts, self.class_starts, side="right") - 1
        # For each place in the order: the run of its class and of its group.
        self._class_start, self._class_size = np.repeat(
            [self.class_starts, self.class_sizes], self.class_sizes, axis=1
        )
        self._group_start, self._group_size = np.repeat([starts, sizes], sizes, axis=1)
        self.in_pairs = np.flatnonzero(self._class_size > 1)  # places with a possible twin
        # Cells: the items of one class by one drawer.
        self.cell_starts, self.cell_sizes = _find_runs(drawer_at, label_at, group_at)
        self.class_cells = np.searchsorted(self.cell_starts, self.class_starts)
        pairs = np.unique(np.stack([group_of, drawer_of]), axis=1)
        self.group_drawers = np.unique(pairs[0], return_counts=True)[1]

    def require_pairs(self, request: str) -> None:
        """Fail unless there are both same and different pairs."""
        if len(self.class_sizes) < 2 or len(self.in_pairs) == 0:
            raise DataError(
                f"{request} need 2 classes, one of them with 2 images; there are "
                f"{len(self.class_sizes)} classes, {(self.class_sizes > 1).sum()} of them "
                f"with 2 images, in {len(self.order)} images"
            )

    def check_within_group(self, share: float) -> float:
        """The share, if it is possible."""
        if share > 0 and not self.has_groups:
            raise ValueError(
                f"within_group={share} needs groups, and the data has none; set it to 0"
            )
        largest = np.bincount(self.class_groups).max(initial=0)
        if share > 0 and largest < 2:
            raise DataError(
                f"within_group={share} needs a group with 2 classes; "
                f"all {len(self.group_values)} groups have one"
            )
        return share

    def complete_classes(self, needed: int) -> NDArray[np.bool_]:
        """(C,) bool: the class has ``needed`` items, by as many drawers if known."""
        if not self.has_drawers:
            return self.class_sizes >= needed
        cells = np.diff(np.append(self.class_cells, len(self.cell_starts)))
        drawers = self.group_drawers[self.class_groups]
        complete: NDArray[np.bool_] = (cells == drawers) & (drawers >= needed)
        return complete

    def draw_same(self, rng: np.random.Generator, places: Indices) -> Indices:
        """(M,) another place of the class of each place (itself where it is alone)."""
        start, size = self._class_start[places], self._class_size[places]
        offset = 1 + rng.integers(0, np.maximum(size - 1, 1))
        partners: Indices = start + (places - start + offset) % size
        return partners

    def draw_different(
        self, rng: np.random.Generator, places: Indices, within_group: float
    ) -> Indices:
        """(M,) a place of another class, uniform over their items, for each place."""
        start, size = self._class_start[places], self._class_size[places]
        group = self._group_size[places]
        within = (rng.random(len(places)) < within_group) & (group > size)
        low = np.where(within, self._group_start[places], 0)
        span = np.where(within, group, len(self.order))
        offset = rng.integers(0, np.maximum(span - size, 1))
        partners: Indices = low + (start + size - low + offset) % span
        return partners


def _find_runs(*columns: Indices) -> tuple[Indices, Indices]:
    """Starts and lengths of the runs in which no column changes."""
    n = len(columns[0])
    changes = np.zeros(max(n - 1, 0), dtype=np.bool_)
    for column in columns:
        changes |= column[1:] != column[:-1]
    starts = np.flatnonzero(np.concatenate([np.ones(min(n, 1), dtype=np.bool_), changes]))
    return starts, np.diff(np.append(starts, n))


def draw_distinct(rng: np.random.Generator, sizes: Indices, count: int) -> Indices:
    """(R, count) distinct random numbers below ``sizes`` (R,), by Floyd's method."""
    chosen = np.empty((len(sizes), count), dtype=np.int64)
    for column in range(count):
        last = sizes - count + column
        drawn = rng.integers(0, last + 1)
        taken = (chosen[:, :column] == drawn[:, None]).any(axis=1)
        chosen[:, column] = np.where(taken, last, drawn)
    return rng.permuted(chosen, axis=1)
