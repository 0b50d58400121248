"""Tables of pairs with column names, whose sides are files or texts."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from onelook.data.items import Pairs
from onelook.data.sources.pair_files import (
    CONVENTION,
    check_same,
    convention,
    existing,
    parse_pairs,
    read_lines,
    resolver,
)
from onelook.data.sources.source import Source
from onelook.errors import DataError
from onelook.recipe import DataSettings


def read_pair_table(
    path: str | Path,
    root: str | Path,
    settings: DataSettings,
    same: int | None = None,
    *,
    quotes: bool = True,
) -> Pairs:
    """Read pairs from a table with column names: CSV, or with tabs or semicolons.

    Lines before the column names may start with ``#``, such as ``# same=1``. ``settings``
    name the columns and what they hold; a label is ``same``/``different``, 0/1, or a number
    that grows with likeness. With ``quotes``, ``"`` quotes a field, as in CSV.
    """
    check_same(same)
    lines = read_lines(path)
    start = next((i for i, x in enumerate(lines) if x.strip() and x.strip()[0] != "#"), 0)
    known = convention(path, lines[:start], same)
    columns = (settings.left_column, settings.right_column, settings.label_column)
    kinds = (settings.left_side, settings.right_side)
    to_address = resolver(root)

    def parse(row: list[str]) -> tuple[str, str, float]:
        sides = []
        for value, column, kind in zip(row, columns, kinds, strict=False):
            if not value.strip():
                raise DataError(f"column {column!r} is empty")
            sides.append(existing(to_address, value) if kind == "path" else value)
        return sides[0], sides[1], _table_label(row[2].strip(), settings.label, known)

    rows = _table_rows(path, lines, start, columns, quotes)
    pairs = parse_pairs(path, rows, parse, graded=settings.label == "target")
    if not len(pairs):
        raise DataError(f"{path} holds no pairs below its line of column names")
    return replace(pairs, left_side=kinds[0], right_side=kinds[1])


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
            f"{path}:{start + 1}: no column {wanted[0]!r}, {wanted[1]!r} or {wanted[2]!r} "
            f"in {lines[start]!r}; a recipe names them by data.left_column, "
            "data.right_column and data.label_column"
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


def _table_label(value: str, kind: str, same: int | None) -> float:
    if kind == "target":
        try:
            target = float(value)
        except ValueError:
            target = float("nan")
        if not np.isfinite(target):
            raise DataError(f"the target must be a number, got {value!r}")
        return target
    if value.lower() in ("same", "different"):
        return value.lower() == "same"
    if value not in ("0", "1"):
        raise DataError(f"label must be 0, 1, same or different, got {value!r}")
    if same is None:
        raise DataError(f"what does label {value!r} mean? {CONVENTION}")
    return int(value) == same


SOURCE = Source(
    "pair-table",
    "your table of pairs of images or texts, with column names",
    lambda root, settings: read_pair_table(
        Path(root) / (settings.pair_file or "pairs.csv"), root, settings
    ),
    protocol="pairs",
    yours="the folder of the table",
    read=read_pair_table,
)
