"""Lists of pairs: both label conventions, folds and line numbers kept."""

import csv
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from onelook.data.archives import address_exists, split_address
from onelook.data.items import ARCHIVE_SEPARATOR, Pairs
from onelook.errors import DataError
from onelook.files import write_whole

Resolve = Callable[[str], str]
Side = Literal["path", "text"]

_HEADER = re.compile(r"#\s*same\s*=\s*(\S+)\s*", re.IGNORECASE)
_CONVENTION = "say whether 1 or 0 marks a pair of the same class: --same 1 or --same 0"


def resolver(root: str | Path = "") -> Resolve:
    """A function from the path in a pair file to an address under ``root``.

    Args:
        root: A folder, an archive ``x.zip`` or a folder inside one, ``x.zip!/FOLDER``.
            Empty: paths stand as they are.

    Example:
        >>> resolver("faces.zip")("./s1/1.pgm")
        'faces.zip!/s1/1.pgm'
    """
    text = os.path.expanduser(root)
    if text in ("", "."):
        return lambda path: path
    if text.lower().endswith(".zip") and not os.path.isdir(text):
        text += ARCHIVE_SEPARATOR
    archive, folder = split_address(text)
    if not archive:
        return lambda path: os.path.join(text, path)
    base = archive + ARCHIVE_SEPARATOR
    return lambda path: base + posixpath.normpath(posixpath.join(folder, path))


def read_pairs(
    path: str | Path,
    root: str | Path = "",
    same: int | None = None,
    *,
    resolve: Resolve | None = None,
    check: bool = True,
) -> Pairs:
    """Read a file of ``PATH PATH LABEL`` lines, split by tabs, commas or spaces.

    What the label means is never guessed: a line ``# same=1`` or ``# same=0`` says it, or
    the argument ``same``. Other lines that start with ``#`` and blank lines are skipped.

    Args:
        path: The file, UTF-8.
        root: What the paths in the file are relative to: a folder or an archive; see
            ``resolver``.
        same: The label of a pair of the same class, 1 or 0, where the file does not say it.
        resolve: In place of ``root``: a function from a path in the file to its address. A
            DataError that it raises is given the line's number.
        check: Refuse a pair whose file is not there.

    Raises:
        DataError: If a line is malformed, a file is missing, or the convention is unknown
            or contradicts the file's own.
        ValueError: If ``same`` is neither 0 nor 1.
    """
    _check_same(same)
    lines = _read_lines(path)
    same = _convention(path, lines, same)
    to_address = resolver(root) if resolve is None else resolve
    left: list[str] = []
    right: list[str] = []
    labels: list[bool] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first, second, label = _split_pair(path, number, line)
        if same is None:
            raise DataError(
                f"{path}:{number}: what does label {label!r} mean? {_CONVENTION}"
            )
        if label not in ("0", "1"):
            raise DataError(
                f"{path}:{number}: label must be 0 or 1, got {label!r}; "
                "a line that is no pair starts with #"
            )
        for side, name in ((left, first), (right, second)):
            try:
                address = to_address(name)
            except DataError as error:
                raise DataError(f"{path}:{number}: {error}") from error
            side.append(_existing(path, number, address, check))
        labels.append(int(label) == same)
        numbers.append(number)
    if not left:
        raise DataError(f"{path} holds no pairs; each line is PATH PATH LABEL")
    return Pairs(
        tuple(left),
        tuple(right),
        is_same=np.array(labels, dtype=np.bool_),
        line_numbers=np.array(numbers, dtype=np.int64),
        source=str(path),
    )


def read_lfw_pairs(path: str | Path, resolve: Callable[[str, int], str]) -> Pairs:
    """Read ``pairs.txt``, ``pairsDevTrain.txt`` or ``pairsDevTest.txt`` of LFW.

    The first line is ``N`` or ``FOLDS N``. Each fold has N lines ``PERSON I J`` (same),
    then N lines ``PERSON I PERSON J`` (different), with tabs between.

    Args:
        path: The file.
        resolve: The address of one image, from the person's name and the image's number. A
            DataError that it raises is given the line's number.

    Raises:
        DataError: If a line is malformed or the counts differ from the header's.
    """
    lines = _read_lines(path)
    n_folds, n_each = _lfw_header(path, lines[0])
    left: list[str] = []
    right: list[str] = []
    labels: list[bool] = []
    numbers: list[int] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = line.rstrip().split("\t")
        if len(fields) not in (3, 4):
            raise DataError(
                f"{path}:{number}: expected 3 or 4 tab-separated fields, "
                f"got {len(fields)}: {line!r}"
            )
        fold, place = divmod(len(left), 2 * n_each)
        if fold == n_folds:
            raise DataError(
                f"{path}:{number}: line 1 says {2 * n_each * n_folds} pairs, "
                "here is one more"
            )
        is_same = len(fields) == 3
        if is_same != (place < n_each):
            expected = "3 fields (same)" if place < n_each else "4 fields (different)"
            raise DataError(
                f"{path}:{number}: expected {expected} for pair {place + 1} of fold "
                f"{fold + 1} ({n_each} same pairs, then {n_each} different), "
                f"got {len(fields)}: {line!r}"
            )
        other = fields[0] if is_same else fields[2]
        try:
            left.append(resolve(fields[0], _image_number(fields[1])))
            right.append(resolve(other, _image_number(fields[-1])))
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from error
        labels.append(is_same)
        numbers.append(number)
    if len(left) != 2 * n_each * n_folds:
        raise DataError(
            f"{path}: line 1 says {2 * n_each * n_folds} pairs, the file has {len(left)}; "
            "is it whole?"
        )
    folds = np.arange(len(left), dtype=np.int64) // (2 * n_each) + 1
    return Pairs(
        tuple(left),
        tuple(right),
        is_same=np.array(labels, dtype=np.bool_),
        folds=folds if n_folds > 1 else None,
        line_numbers=np.array(numbers, dtype=np.int64),
        source=str(path),
    )


def read_pair_table(
    path: str | Path,
    *,
    left: str = "left",
    right: str = "right",
    label: str | None = "label",
    label_kind: Literal["is_same", "target"] = "is_same",
    left_side: Side = "path",
    right_side: Side = "path",
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
    _check_same(same)
    lines = _read_lines(path)
    start = next((i for i, x in enumerate(lines) if x.strip() and x.strip()[0] != "#"), 0)
    same = _convention(path, lines[:start], same)
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
                value = _existing(path, number, to_address(value), check)
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
    )


def write_pairs(path: str | Path, pairs: Pairs, same: int = 1) -> None:
    """Write ``PATH PATH LABEL`` lines, headed by the convention, for ``read_pairs``.

    Args:
        path: The file; it is replaced in one step.
        pairs: Pairs with ``is_same``.
        same: The label that a pair of the same class gets, 1 or 0.

    Raises:
        DataError: If the pairs have no ``is_same``, or a path does not fit into such a
            line.
        ValueError: If ``same`` is neither 0 nor 1.
    """
    _check_same(same)
    if pairs.is_same is None:
        raise DataError(f"{pairs.source or 'the pairs'} have no is_same to write")
    lines = [f"# same={same}\n"]
    for left, right, is_same in zip(pairs.left, pairs.right, pairs.is_same, strict=True):
        for name in (left, right):
            if (
                name != name.strip()
                or not name
                or name[0] == "#"
                or re.search(r"[\t\r\n]", name)
            ):
                raise DataError(f"path {name!r} does not fit into a pair file; rename it")
        lines.append(f"{left}\t{right}\t{same if is_same else 1 - same}\n")
    write_whole(Path(path), "".join(lines))


def _check_same(same: int | None) -> None:
    if same not in (None, 0, 1):
        raise ValueError(f"same must be 0 or 1, got {same!r}")


def _read_lines(path: str | Path) -> list[str]:
    """Lines of a UTF-8 file, without their ends; a byte order mark is dropped."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return decode_lines(path, data)


def decode_lines(path: str | Path, data: bytes) -> list[str]:
    """The lines of UTF-8 text that was read from ``path``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{number}: byte 0x{data[error.start]:02x} is not UTF-8; "
            "save the file as UTF-8"
        ) from error
    if "\0" in text:
        number = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}:{number}: a zero byte; this is not a text file")
    # Not splitlines(), which also splits at characters that may stand in a sentence.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _convention(path: str | Path, lines: Sequence[str], same: int | None) -> int | None:
    """What marks a pair of the same class: the file's header must not deny the option."""
    found: int | None = None
    for number, line in enumerate(lines, start=1):
        match = _HEADER.fullmatch(line.strip())
        if not match:
            continue
        if match[1] not in ("0", "1"):
            raise DataError(f"{path}:{number}: same must be 0 or 1, got {match[1]!r}")
        for other, whose in ((same, "the option --same"), (found, "an earlier line")):
            if other is not None and other != int(match[1]):
                raise DataError(
                    f"{path}:{number}: the file says same={match[1]}, "
                    f"{whose} says {other}; "
                    "correct the one that is wrong"
                )
        found = int(match[1])
    return same if found is None else found


def _split_pair(path: str | Path, number: int, line: str) -> tuple[str, str, str]:
    """By tabs, else commas, else spaces: the first that leaves a label of 0 or 1."""
    best: list[str] = []
    for separator in ("\t", ",", None):
        fields = [field.strip() for field in line.strip().split(separator)]
        if len(fields) == 3 and all(fields):
            if fields[2] in ("0", "1"):
                return fields[0], fields[1], fields[2]
            best = best or fields
    if not best:
        raise DataError(
            f"{path}:{number}: expected PATH PATH LABEL with tabs, commas or spaces "
            f"between, got {line!r}; a path with spaces needs tabs"
        )
    return best[0], best[1], best[2]


def _existing(path: str | Path, number: int, address: str, check: bool) -> str:
    if check and not address_exists(address):
        raise DataError(
            f"{path}:{number}: there is no file {address}; "
            "paths are relative to --root, or to the --data of a training"
        )
    return address


def _lfw_header(path: str | Path, line: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) not in (1, 2) or not all(f.isdecimal() and int(f) > 0 for f in fields):
        raise DataError(
            f"{path}:1: expected the number of pairs of each kind, or folds and that "
            f"number, got {line!r}"
        )
    return (int(fields[0]) if len(fields) == 2 else 1), int(fields[-1])


def _image_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"an image's number is a whole number from 1, got {text!r}")
    return int(text)


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
        raise DataError(f"{path}:{number}: what does label {value!r} mean? {_CONVENTION}")
    return int(value) == same
