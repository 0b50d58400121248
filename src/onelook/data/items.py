"""Dataset and Pairs: what each item of a collection is. They know addresses, not pixels."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onelook.errors import DataError

ARCHIVE_SEPARATOR = "!/"
SideKind = Literal["path", "text"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Addresses and labels of N items.

    Args:
        name: What people call it, for messages and reports.
        paths: N addresses: the path of a file, or ``ARCHIVE.zip!/MEMBER`` for a file inside
            an archive.
        labels: (N,) int64, index into ``class_names``.
        class_names: C names; every class has at least one item.
        groups: (N,) int64, index into ``group_names``: the alphabet of a character, say.
            ``None`` where the source has no groups.
        group_names: Names of the groups.
        drawers: (N,) int64, who drew or took the item, or ``None``.
        folds: (N,) int64, the official fold of the item counted from 1 (0 = in none), or
            ``None``.
        splits: (N,) str, the official split such as ``"train"``, or ``None``.
        right_paths: N addresses of what stands on the right of each item where the two
            sides differ: the pen strokes of a drawing, say. ``None``: both sides are alike.

    Raises:
        DataError: If the columns differ in length or a label has no name.
    """

    name: str
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    group_names: tuple[str, ...] = ()
    drawers: NDArray[np.int64] | None = None
    folds: NDArray[np.int64] | None = None
    splits: NDArray[np.str_] | None = None
    right_paths: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        columns = ("labels", "groups", "drawers", "folds", "splits", "right_paths")
        _check_columns(self.name, "items", self, *columns)
        for column, names in (("labels", self.class_names), ("groups", self.group_names)):
            values = getattr(self, column)
            if values is None or not len(values):
                continue
            if not 0 <= values.min() <= values.max() < len(names):
                raise DataError(
                    f"{self.name}: {column} reach from {values.min()} to {values.max()}, "
                    f"but there are {len(names)} names for them"
                )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when a path's last parts or a label changes.

        Only the last three parts of a path count, so that the same data elsewhere stays the
        same.
        """
        digest = hashlib.sha256()
        for path, label in zip(self.paths, self.labels, strict=True):
            tail = "/".join(path.replace(ARCHIVE_SEPARATOR, "/").split("/")[-3:])
            line = f"{tail}\t{self.class_names[label]}\n"
            # File names need not be UTF-8.
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def subset(
        self, keep: NDArray[np.bool_] | NDArray[np.int64], name: str = ""
    ) -> "Dataset":
        """The items that ``keep`` selects, (N,) bool or indices; drops empty classes."""
        indices = np.arange(len(self))[keep]  # refuses a mask of another length
        labels, class_names = _renumber(self.labels[indices], self.class_names)
        chosen = _picked(
            self, ("paths", "right_paths", "drawers", "folds", "splits"), indices
        )
        if self.groups is not None:
            groups, names = _renumber(self.groups[indices], self.group_names)
            chosen |= {"groups": groups, "group_names": names}
        return replace(
            self, name=name or self.name, labels=labels, class_names=class_names, **chosen
        )

    def of_split(self, split: str) -> "Dataset":
        """The items of one official split."""
        splits = np.array([], str) if self.splits is None else self.splits
        known = sorted(set(splits.tolist()))
        if split not in known:
            raise DataError(
                f"{self.name} has no split {split!r}; known: {', '.join(known) or 'none'}"
            )
        return self.subset(splits == split, f"{self.name} {split}")

    def of_groups(self, names: Iterable[str]) -> "Dataset":
        """The items of the named groups, such as alphabets."""
        wanted = list(names)
        missing = sorted(set(wanted) - set(self.group_names))
        if missing or self.groups is None:
            raise DataError(
                f"{self.name} has no group {', '.join(missing)}; known: "
                f"{', '.join(self.group_names) or 'none'}"
            )
        keep = [self.group_names.index(name) for name in wanted]
        return self.subset(np.isin(self.groups, keep))

    def without(self, addresses: Collection[str]) -> "Dataset":
        """The items whose paths are not among these addresses."""
        left_out = set(addresses)
        return self.subset(np.array([path not in left_out for path in self.paths], bool))

    def hold_out(
        self, fraction: float, seed: int, by: Literal["class", "group", "name"] = "class"
    ) -> tuple["Dataset", "Dataset"]:
        """Split into what is trained on and the classes that a training holds out whole.

        Args:
            fraction: Fraction of the classes (or groups) that are held out; at least one
                is held out, and one is left.
            seed: Seed of the draw.
            by: What is held out whole: classes; groups such as alphabets (classes where
                there are none); or classes by their names alone, so that two data sets
                that share a class agree on its part, and a network that begins with the
                weights of another never meets what either of them held out.

        Raises:
            DataError: If there are too few classes or groups.
        """
        if by == "name":
            digests = (
                hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()
                for name in self.class_names
            )
            places = np.array([int.from_bytes(digest[:6], "big") for digest in digests])
            is_held = (places / 2**48 >= 1 - fraction)[self.labels]
            if is_held.all() or not is_held.any():
                raise DataError(
                    f"{self.name} has {self.n_classes} classes, and by their names seed "
                    f"{seed} holds out all or none; choose another fraction or seed"
                )
        else:
            whole, n, units = self.labels, self.n_classes, "classes"
            if by == "group" and self.groups is not None:
                whole, n, units = self.groups, len(self.group_names), "groups"
            if n < 2:
                raise DataError(
                    f"{self.name} has {n} {units}, too few to hold one out; add {units}"
                )
            order = np.random.default_rng(seed).permutation(n)
            n_trained = int(np.clip(np.round((1 - fraction) * n), 1, n - 1))
            is_held = np.isin(whole, order[n_trained:])
        held = self.subset(is_held, f"{self.name} validation")
        return self.subset(~is_held, f"{self.name} train"), held


@dataclass(frozen=True, eq=False)
class Pairs:
    """N pairs of addresses, or of texts.

    Args:
        left: N addresses or texts.
        right: N addresses or texts.
        is_same: (N,) bool, True for a pair of the same class, or ``None``.
        targets: (N,) float32, how alike the two sides are, or ``None``.
        folds: (N,) int64, the official fold counted from 1, or ``None``.
        splits: (N,) str, the official split such as ``"train"``, or ``None``.
        line_numbers: (N,) int64, where each pair stands in its file, counted from 1, or
            ``None``.
        source: The file or set that the pairs come from, for messages and reports.
        left_side: Whether ``left`` holds addresses (``"path"``) or texts (``"text"``).
        right_side: The same for ``right``.
        identities: Who is on each address, where the source says so.

    Raises:
        DataError: If the columns differ in length.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    is_same: NDArray[np.bool_] | None = None
    targets: NDArray[np.float32] | None = None
    folds: NDArray[np.int64] | None = None
    splits: NDArray[np.str_] | None = None
    line_numbers: NDArray[np.int64] | None = None
    source: str = ""
    left_side: SideKind = "path"
    right_side: SideKind = "path"
    identities: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        _check_columns(self.source or "pairs", "pairs", self, "right", *_PAIR_COLUMNS)

    def __len__(self) -> int:
        return len(self.left)

    def subset(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Pairs":
        """The pairs that ``keep`` selects, (N,) bool or indices."""
        indices = np.arange(len(self))[keep]
        return replace(self, **_picked(self, ("left", "right", *_PAIR_COLUMNS), indices))

    def within(self, items: Collection[str]) -> "Pairs":
        """The pairs with both sides among these addresses or texts."""
        known = set(items)
        sides = zip(self.left, self.right, strict=True)
        return self.subset(np.array([a in known and b in known for a, b in sides], bool))

    def hold_out(self, fraction: float, seed: int) -> tuple["Pairs", "Pairs"]:
        """Split into what is trained on and what is not, so that they share no left side.

        Where the source has a split named ``"validation"``, that one is held out.

        Raises:
            DataError: If there is only one left side.
        """
        if self.splits is not None and "validation" in self.splits:
            official = self.splits == "validation"
            return self.subset(~official), self.subset(official)
        _, lefts = np.unique(self.left, return_inverse=True)
        order = np.random.default_rng(seed).permutation(int(lefts.max()) + 1)
        n_held = max(1, round(fraction * len(order)))
        if n_held >= len(order):
            raise DataError(f"{self.source}: one left side only; nothing can be held out")
        held = np.isin(lefts, order[:n_held])
        return self.subset(~held), self.subset(held)

    def with_identities(self) -> "Pairs":
        """The same pairs; items joined by "same" pairs are one identity.

        Raises:
            DataError: If the pairs do not say which are the same.
        """
        if self.is_same is None:
            raise DataError(
                f"{self.source}: its pairs are graded, not same or different, so they do "
                "not say who is on them"
            )
        items = sorted({*self.left, *self.right})
        index = {item: i for i, item in enumerate(items)}
        left, right = (
            np.array([index[item] for item in side], dtype=np.int64)[self.is_same]
            for side in (self.left, self.right)
        )
        of_item = connected_components(len(items), left, right).tolist()
        width = len(str(len(items)))
        names = [f"identity {one + 1:0{width}}" for one in of_item]
        return replace(self, identities=dict(zip(items, names, strict=True)))

    def items(self) -> Dataset:
        """The distinct items of both sides; their classes are the identities on them."""
        assert self.identities is not None
        paths = tuple(sorted({*self.left, *self.right}))
        names, labels = np.unique(
            [self.identities[path] for path in paths], return_inverse=True
        )
        name = Path(self.source).name or "pairs"
        return Dataset(name, paths, labels.astype(np.int64), tuple(names.tolist()))


_PAIR_COLUMNS = ("is_same", "targets", "folds", "splits", "line_numbers")


def connected_components(
    n: int, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Component (N,) of each of ``n`` nodes joined by edges (M,), from 0 by first nodes."""
    first = np.arange(n)  # the first node of the component, as far as is known
    while True:
        least = np.minimum(first[left], first[right])
        nearer = first.copy()
        for ends in (left, right, first[left], first[right]):
            np.minimum.at(nearer, ends, least)
        nearer = nearer[nearer]
        if (nearer == first).all():
            return np.unique(first, return_inverse=True)[1].astype(np.int64)
        first = nearer


def _renumber(
    values: NDArray[np.int64], names: tuple[str, ...]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    kept, renumbered = np.unique(values, return_inverse=True)
    return renumbered.astype(np.int64), tuple(names[i] for i in kept)


def _picked(
    items: Dataset | Pairs, columns: Iterable[str], indices: NDArray[np.int64]
) -> dict[str, Any]:
    """The chosen entries of the columns that there are."""
    chosen: dict[str, Any] = {}
    for name in columns:
        column = getattr(items, name)
        if isinstance(column, tuple):
            chosen[name] = tuple(column[i] for i in indices)
        elif column is not None:
            chosen[name] = column[indices]
    return chosen


def _check_columns(name: str, what: str, items: Dataset | Pairs, *columns: str) -> None:
    for column in columns:
        values = getattr(items, column)
        if values is not None and len(values) != len(items):
            raise DataError(
                f"{name}: {column} has {len(values)} entries for {len(items)} {what}"
            )
