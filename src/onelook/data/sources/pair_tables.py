"""Tables of pairs with column names, whose sides are files or texts."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from onelook.data.items import Pairs, SideKind
from onelook.data.sources.pair_files import (
    CONVENTION,
    check_same,
    convention,
    existing,
    read_lines,
    resolver,
)
from onelook.data.sources.source import Source
from onelook.errors import DataError
from onelook.recipe import DataSettings


def read_pair_table(
    path: str | Path,
    *,
    left: str = "left",
    right: str = "right",
    label: str | None = "label",
    label_kind: Literal["is_same", "target"] = "is_same",
    left_side: SideKind = "path",
    right_side: SideKind = "path",
    root: str | Path = "",
    same: int | None = None,
    check: bool = True,
    quotes: bool = True,
) -> Pairs:
    """Read pairs from a table with column names: CSV, or with tabs or semicolons.

    Args:
        path: The file, UTF-8. Lines before the column names may start with ``#``, such as
            ``# same=1``.
        left: Name of the column of left sides.
        right: Name of the column of right sides.
        label: Name of the column of labels; ``None`` where there is none.
        label_kind: ``"is_same"`` for ``same``/``different`` or 0/1 (then the convention
            must be known, as for ``read_pairs``), ``"target"`` for a number that grows with
            likeness.
        left_side: Whether the left column holds paths or the texts themselves.
        right_side: The same for the right column.
        root: What paths are relative to; see ``resolver``.
        same: 0 or 1: the label of a pair of the same class.
        check: Refuse a pair whose file is not there.
        quotes: Whether ``"`` quotes a field, as in CSV; otherwise it is text like any
            other.

    Raises:
        DataError: If a column is missing, a row is malformed or a file is not there.
        ValueError: If ``same`` is neither 0 nor 1.
    """
    check_same(same)
    lines = read_lines(path)
    start = next((i for i, x in enumerate(lines) if x.strip() and x.strip()[0] != "#"), 0)
    same = convention(path, lines[:start], same)
    wanted = [left, right] if label is None else [left, right, label]
    rows = _table_rows(path, lines, start, wanted, quotes)
    to_address = resolver(root)
    sides: tuple[list[str], list[str]] = ([], [])
    labels: list[float] = []
    numbers: list[int] = []
    for number, row in rows:
        for side, kind, value, column in zip(
            sides, (left_side, right_side), row, (left, right), strict=False
        ):
            if not value.strip():
                raise DataError(f"{path}:{number}: column {column!r} is empty")
            if kind == "path":
                value = existing(path, number, to_address(value), check)
            side.append(value)
        if label is not None:
            labels.append(_table_label(path, number, row[2].strip(), label_kind, same))
        numbers.append(number)
    if not numbers:
        raise DataError(f"{path} holds no pairs below its line of column names")
    is_same = label is not None and label_kind == "is_same"
    target = label is not None and label_kind == "target"
    return Pairs(
        tuple(sides[0]),
        tuple(sides[1]),
        is_same=np.array(labels, dtype=np.bool_) if is_same else None,
        targets=np.array(labels, dtype=np.float32) if target else None,
        line_numbers=np.array(numbers, dtype=np.int64),
        source=str(path),
        left_side=left_side,
        right_side=right_side,
    )


def _table_rows(
    path: str | Path, lines: Sequence[str], start: int, wanted: Sequence[str], quotes: bool
) -> Iterator[tuple[int, list[str]]]:
    """Line number and wanted fields of each row."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    separator, names = "", [""]
    for separator in ("\t", ",", ";"):
        names = [name.strip() for name in lines[start].split(separator)]
        names = [name.strip('"') for name in names] if quotes else names
        if all(name in names for name in wanted):
            break
    else:
        raise DataError(
            f"{path}:{start + 1}: no column {wanted[0]!r}, {wanted[1]!r}"
            f"{f' or {wanted[2]!r}' if len(wanted) > 2 else ''} in {lines[start]!r}; "
            "name the columns with --left, --right and --label"
        )
    columns = [names.index(name) for name in wanted]
    body = [line + "\n" for line in lines[start + 1 :]]
    reader = csv.reader(body, delimiter=separator, quoting=quoting, strict=True)
    first = 1
    try:
        for row in reader:
            number, first = start + 1 + first, reader.line_num + 1
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(
                    f"{path}:{number}: expected {len(names)} fields, got {len(row)}: "
                    f"{separator.join(row)!r}"
                )
            yield number, [row[column] for column in columns]
    except csv.Error as error:
        raise DataError(f"{path}:{start + 1 + first}: {error}; check the quotes") from error


def _table_label(
    path: str | Path, number: int, value: str, kind: str, same: int | None
) -> float:
    if kind == "target":
        try:
            target = float(value)
        except ValueError:
            target = float("nan")
        if not np.isfinite(target):
            raise DataError(f"{path}:{number}: the target must be a number, got {value!r}")
        return target
    if value.lower() in ("same", "different"):
        return value.lower() == "same"
    if value not in ("0", "1"):
        raise DataError(
            f"{path}:{number}: label must be 0, 1, same or different, got {value!r}"
        )
    if same is None:
        raise DataError(f"{path}:{number}: what does label {value!r} mean? {CONVENTION}")
    return int(value) == same


def _read(
    path: str | Path, root: str | Path, settings: DataSettings, same: int | None = None
) -> Pairs:
    return read_pair_table(
        path,
        left=settings.left_column,
        right=settings.right_column,
        label=settings.label_column,
        label_kind=settings.label,
        left_side=settings.left_side,
        right_side=settings.right_side,
        root=root,
        same=same,
    )


SOURCE = Source(
    "pair-table",
    "your table of pairs of images or texts, with column names",
    lambda root, settings: _read(
        Path(root) / (settings.pair_file or "pairs.csv"), root, settings
    ),
    protocol="pairs",
    yours="the folder of the table",
    read=_read,
)
