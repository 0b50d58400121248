"""Batch: many pairs of files compared, each file encoded once; rows of a CSV file."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.comparison import Comparison
from onelook.data.archives import Tree, open_tree
from onelook.data.reading import refuse_bad
from onelook.errors import DataError
from onelook.familiarity import Reason, of_both
from onelook.files import expanded
from onelook.progress import progress_bar
from onelook.vectors import encode_readable
from onelook.verifier import Verifier

COLUMNS = ("left", "right", "verdict", "probability", "score", "familiar", "reason")
PAIRS_AT_ONCE = 256

# Left files and the right ones that each is compared with.
Block = tuple[Sequence[str], Sequence[str]]
Encoded = tuple[NDArray[np.float32], Reason]


@dataclass(eq=False)
class Batch:
    """Comparisons of many pairs of files, made while one iterates over them.

    Args:
        verifier: The model.
        blocks: Gives the pairs, a few hundred at a time: left files, and right ones.
        n_pairs: Number of pairs.
        first: Files of both sides to encode before the first comparison.
        alone: Files of either side that are in no pair.
        skip_bad: Leave out the pairs of files that cannot be read.
        progress: Report progress on standard error.

    Attributes:
        bad: Files that could not be read so far, and why.
    """

    verifier: Verifier
    blocks: Callable[[], Iterable[Block]]
    n_pairs: int
    first: Block = ((), ())
    alone: tuple[str, ...] = ()
    skip_bad: bool = False
    progress: bool = True
    bad: list[tuple[str, str]] = field(default_factory=list, init=False)
    _known: dict[tuple[str, str], Encoded | None] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return self.n_pairs

    def __iter__(self) -> Iterator[Comparison]:
        """The comparisons, in the order of the pairs.

        Raises:
            DataError: If a file cannot be read, unless ``skip_bad``.
        """
        self._encode(*self.first, progress=self.progress)
        with progress_bar("comparing", self.n_pairs, shown=self.progress) as advance:
            for lefts, rights in self.blocks():
                yield from self._compare(lefts, rights)
                advance(len(lefts))

    def _compare(self, lefts: Sequence[str], rights: Sequence[str]) -> Iterator[Comparison]:
        self._encode(lefts, rights)
        of_left, of_right = self._sides()
        found = [
            (left, right, a, b)
            for left, right in zip(lefts, rights, strict=True)
            if (a := self._known[of_left, left]) and (b := self._known[of_right, right])
        ]
        if not found:
            return
        scores = self.verifier.score(
            np.stack([a[0] for _, _, a, _ in found]),
            np.stack([b[0] for _, _, _, b in found]),
        )
        for (left, right, a, b), score in zip(found, scores, strict=True):
            yield self.verifier.judge(left, right, float(score), of_both(a[1], b[1]))

    def _sides(self) -> tuple[str, str]:
        """The encoders of left and right files: one, if the model has only one."""
        return "left", "left" if self.verifier.shared else "right"

    def _encode(
        self, lefts: Sequence[str], rights: Sequence[str], progress: bool = False
    ) -> None:
        """Encode the files that are not known yet; None stands for those that are bad."""
        of_left, of_right = self._sides()
        if of_left == of_right:
            return self._encode_side(of_left, [*lefts, *rights], progress)
        self._encode_side(of_left, lefts, progress)
        self._encode_side(of_right, rights, progress)

    def _encode_side(self, side: str, files: Sequence[str], progress: bool) -> None:
        def encode(some: Sequence[str]) -> Iterable[Encoded]:
            if self.verifier.shared:
                return zip(*self.verifier.look(some, some), strict=True)
            return ((one, None) for one in self.verifier.embed(some, side))

        fresh = [one for one in dict.fromkeys(files) if (side, one) not in self._known]
        found, bad = encode_readable(fresh, encode, progress)
        self.bad += bad
        if not self.skip_bad:
            refuse_bad(bad, len(fresh), "files", skippable=True)
        self._known.update({(side, one): None for one, _ in bad})
        self._known.update({(side, one): encoded for one, encoded in found})


def compare_folders(
    verifier: Verifier,
    left: str | Path,
    right: str | Path,
    *,
    every: bool = False,
    skip_bad: bool = False,
    progress: bool = True,
) -> Batch:
    """Compare the images of two folders that have the same name, or each with each.

    Args:
        verifier: A model of images.
        left: A folder or an archive.
        right: Another one. The name of an image is its path in the folder, without the
            ending: ``mug/1.jpg`` is compared with ``mug/1.png``.
        every: Compare every image of one with every image of the other; where both are
            the same folder, each pair once and no image with itself.
        skip_bad: Leave out the pairs of images that cannot be read.
        progress: Report progress on standard error.

    Returns:
        A ``Batch`` to iterate over, or for ``write_comparisons``.

    Raises:
        DataError: If a folder holds no images, or no two have the same name.

    Example:
        >>> verifier = onelook.load("photos")  # doctest: +SKIP
        >>> batch = compare_folders(verifier, "before/", "after/")  # doctest: +SKIP
        >>> write_comparisons("results.csv", batch)  # doctest: +SKIP
    """
    a, b = open_tree(left).unwrapped(), open_tree(right).unwrapped()
    lefts = _named(a, verifier.input.suffixes, left)
    rights = _named(b, verifier.right_input.suffixes, right)
    how: dict[str, Any] = {"skip_bad": skip_bad, "progress": progress}
    if every:
        return _each_with_each(verifier, lefts, rights, how)
    if a.base == b.base:
        raise DataError(
            f"{left} and {right} are the same folder; --all (in Python every=True) "
            "compares each image with each"
        )
    pairs = [(x, y) for name in lefts for x in lefts[name] for y in rights.get(name, ())]
    if not pairs:
        raise DataError(
            f"no image of {left} has the name of one in {right}; --all (in Python "
            "every=True) compares each with each"
        )
    batch = compare_files(verifier, [x for x, _ in pairs], [y for _, y in pairs], **how)
    batch.alone = (*_without(lefts, rights), *_without(rights, lefts))
    return batch


def compare_files(
    verifier: Verifier,
    lefts: Sequence[str],
    rights: Sequence[str],
    *,
    skip_bad: bool = False,
    progress: bool = True,
) -> Batch:
    """Compare N files (or texts) with N others, pair by pair.

    Args:
        verifier: The model.
        lefts: N addresses.
        rights: N addresses.
        skip_bad: Leave out the pairs of files that cannot be read.
        progress: Report progress on standard error.
    """

    def blocks() -> Iterator[Block]:
        for start in range(0, len(lefts), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            yield lefts[part], rights[part]

    return Batch(verifier, blocks, len(lefts), skip_bad=skip_bad, progress=progress)


def csv_lines(answers: Iterable[Comparison]) -> Iterator[str]:
    """The lines of a CSV file, the names of the columns first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")

    def line(cells: Iterable[str]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue()

    yield line(COLUMNS)
    for one in answers:
        probability = "" if one.probability is None else f"{one.probability:.6f}"
        familiar = "" if one.familiar is None else str(one.familiar).lower()
        figures = (one.verdict, probability, f"{one.score:.6f}", familiar)
        yield line((one.left, one.right, *figures, one.reason))


def write_comparisons(path: str | Path, answers: Iterable[Comparison]) -> Path:
    """Write a CSV file, line by line: what stops early leaves whole lines behind.

    Args:
        path: The file; its columns are left, right, verdict, probability, score, familiar
            ("true", "false", or empty where that is not known) and reason.
        answers: A ``Batch``, or any comparisons.
    """
    target = expanded(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "w", buffering=1, encoding="utf-8", newline="") as file:
        file.writelines(csv_lines(answers))
    return target


def _named(tree: Tree, suffixes: frozenset[str], place: str | Path) -> dict[str, list[str]]:
    """The addresses of a folder's images by their names, without the endings."""
    found: dict[str, list[str]] = {}
    for name in tree.files(suffixes, place):
        key = str(PurePosixPath(name).with_suffix(""))
        found.setdefault(key, []).append(tree.address(name))
    if not found:
        raise DataError(f"{place} holds no images to compare")
    return found


def _without(some: dict[str, list[str]], others: dict[str, list[str]]) -> Iterator[str]:
    """The files whose names the others do not have."""
    return (one for name, files in some.items() if name not in others for one in files)


def _each_with_each(
    verifier: Verifier,
    lefts: dict[str, list[str]],
    rights: dict[str, list[str]],
    how: dict[str, Any],
) -> Batch:
    left = [one for files in lefts.values() for one in files]
    right = [one for files in rights.values() for one in files]
    is_one = left == right

    def blocks() -> Iterator[Block]:
        for row, one in enumerate(left):
            for start in range(row + 1 if is_one else 0, len(right), PAIRS_AT_ONCE):
                others = right[start : start + PAIRS_AT_ONCE]
                yield [one] * len(others), others

    n = len(left) * (len(left) - 1) // 2 if is_one else len(left) * len(right)
    return Batch(verifier, blocks, n, (left, right), **how)
