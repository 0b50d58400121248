"""Groups of images that show one thing, without labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelook.data.reading import address_parts, read_bytes
from onelook.errors import DataError
from onelook.files import check_writable, expanded
from onelook.verifier import Verifier


class Sets:
    """Disjoint sets of rows that are joined one by one."""

    def __init__(self, n: int) -> None:
        self._above = list(range(n))

    def of(self, row: int) -> int:
        """The row that stands for the set of this one."""
        while self._above[row] != row:
            self._above[row] = self._above[self._above[row]]
            row = self._above[row]
        return row

    def join(self, left: int, right: int) -> int:
        """Join the sets of two rows; the row that stands for both."""
        self._above[self.of(right)] = self.of(left)
        return self.of(left)

    def several(self) -> list[list[int]]:
        """The sets of two rows or more, largest first."""
        members: dict[int, list[int]] = {}
        for row in range(len(self._above)):
            members.setdefault(self.of(row), []).append(row)
        found = [rows for rows in members.values() if len(rows) > 1]
        return sorted(found, key=lambda rows: (-len(rows), rows))


def group(
    verifier: Verifier,
    embeddings: NDArray[np.float32],
    edges: Iterable[tuple[int, int]],
    threshold: float,
) -> list[list[int]]:
    """Join the likeliest neighbours first, where what is joined is the same on the whole.

    A chain of images (N, D), each like the next, would otherwise join everything: the
    means of two groups have to reach the threshold. ``edges`` are rows of neighbours, best
    first.
    """
    sets, sums = Sets(len(embeddings)), embeddings.astype(np.float64)
    counts = np.ones(len(embeddings))
    for left, right in edges:
        a, b = sets.of(left), sets.of(right)
        if a == b:
            continue
        if counts[a] + counts[b] > 2:
            means = (sums[[a, b]] / counts[[a, b], None]).astype(np.float32)
            if verifier.score(means[:1], means[1:])[0] < threshold:
                continue
        both, total = sums[a] + sums[b], counts[a] + counts[b]
        one = sets.join(a, b)
        sums[one], counts[one] = both, total
    return sets.several()


def write_groups(
    paths: Sequence[str], groups: Sequence[Sequence[int]], folder: str | Path
) -> Path:
    """Copy each group's files into ``folder/group-001`` and so on.

    Raises:
        DataError: If the folder is there and not empty.
    """
    target = check_new(folder)
    digits = max(3, len(str(len(groups))))
    for number, rows in enumerate(groups, 1):
        here = target / f"group-{number:0{digits}}"
        here.mkdir(parents=True)
        for row in rows:
            name = address_parts(paths[row])[-1]
            file = here / name
            if file.exists():  # of the same name in another folder
                file = here / f"{row}-{name}"
            file.write_bytes(read_bytes(paths[row]))
    return target


def check_new(folder: str | Path) -> Path:
    """The folder, which must be new or empty, where it can be made."""
    target = expanded(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already; name a new folder for the groups")
    check_writable(target)
    return target
