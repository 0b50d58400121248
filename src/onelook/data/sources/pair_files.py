"""Files of pairs, PATH PATH LABEL: both label conventions, line numbers kept."""

import csv
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from onelook.data.archives import address_exists
from onelook.data.items import ARCHIVE_SEPARATOR, Pairs
from onelook.data.reading import read_bytes, split_address
from onelook.data.sources.source import Source
from onelook.errors import DataError
from onelook.files import write_whole
from onelook.recipe import DataSettings

Resolve = Callable[[str], str]
Line = TypeVar("Line")

_HEADER = re.compile(r"#\s*same\s*=\s*(\S+)\s*", re.IGNORECASE)
CONVENTION = "say whether 1 or 0 marks a pair of the same class: --same 1 or --same 0"


def resolver(root: str | Path = "") -> Resolve:
    """A function from the path in a pair file to an address under ``root``.

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
        check: Refuse a pair whose file does not exist.

    Raises:
        DataError: If a line is malformed, a file is missing, or the convention is unknown
            or contradicts the file's own.
        ValueError: If ``same`` is neither 0 nor 1.
    """
    check_same(same)
    lines = read_lines(path)
    known = convention(path, lines, same)
    to_address = resolver(root) if resolve is None else resolve

    def parse(line: str) -> tuple[str, str, float]:
        left, right, label = _split_pair(line)
        if line == numbered[0][1] and not any(one.isdecimal() for one in label):
            raise DataError(f"{line!r} is a line of column names; put # before it")
        if known is None:
            raise DataError(f"what does label {label!r} mean? {CONVENTION}")
        if label not in ("0", "1"):
            raise DataError(
                f"label must be 0 or 1, got {label!r}; a line that is no pair starts with #"
            )
        left, right = (
            existing(to_address, side) if check else to_address(side)
            for side in (left, right)
        )
        return left, right, int(label) == known

    numbered = _lines_of_pairs(path, lines)
    return parse_pairs(path, numbered, parse)


def _lines_of_pairs(path: str | Path, lines: Sequence[str]) -> list[tuple[int, str]]:
    """Number, from 1, and text of each line that is neither blank nor a comment."""
    numbered = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not numbered:
        raise DataError(f"{path} holds no pairs; each line is PATH PATH LABEL")
    if re.fullmatch(r"\d+(\s+\d+)?\s*", numbered[0][1]):
        raise DataError(
            f"{path}:{numbered[0][0]}: this is LFW's format (counts, then PERSON I J); "
            "onelook evaluate MODEL --protocol lfw-view1 or lfw-view2 reads it"
        )
    return numbered


def parse_pairs(
    path: str | Path,
    numbered: Iterable[tuple[int, Line]],
    parse: Callable[[Line], tuple[str, str, float]],
    graded: bool = False,
) -> Pairs:
    """The pairs of a file's lines; errors of a line begin with the file and its number.

    ``parse`` gives left, right and label: 1 for a same pair, or a grade.
    """
    parsed = []
    for number, line in numbered:
        try:
            parsed.append((*parse(line), number))
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from error
    left, right, labels, numbers = zip(*parsed, strict=True) if parsed else ((),) * 4
    return Pairs(
        left,
        right,
        is_same=None if graded else np.array(labels, dtype=np.bool_),
        targets=np.array(labels, dtype=np.float32) if graded else None,
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
    check_same(same)
    if pairs.is_same is None:
        raise DataError(f"{pairs.source or 'the pairs'} have no is_same to write")
    lines = [f"# same={same}\n"]
    for left, right, is_same in zip(pairs.left, pairs.right, pairs.is_same, strict=True):
        for name in (left, right):
            if not re.fullmatch(r"(?![#\s])[^\t\r\n]+(?<!\s)", name):
                raise DataError(f"path {name!r} does not fit into a pair file; rename it")
        lines.append(f"{left}\t{right}\t{same if is_same else 1 - same}\n")
    write_whole(Path(path), "".join(lines))


def check_same(same: int | None) -> None:
    if same not in (None, 0, 1):
        raise ValueError(f"same must be 0 or 1, got {same!r}")


def read_lines(path: str | Path) -> list[str]:
    """Lines of a UTF-8 file, without their ends; a byte order mark is dropped."""
    data = read_bytes(str(path))
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


def convention(path: str | Path, lines: Sequence[str], same: int | None) -> int | None:
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
                    f"{path}:{number}: the file says same={match[1]}, {whose} says "
                    f"{other}; correct the one that is wrong"
                )
        found = int(match[1])
    return same if found is None else found


def _split_pair(line: str) -> tuple[str, str, str]:
    """By tabs, commas, semicolons or spaces: the first that leaves a label of 0 or 1."""
    best: list[str] = []
    for separator in ("\t", ",", ";", None):
        fields = [field.strip() for field in _fields(line.strip(), separator)]
        if len(fields) == 3 and all(fields):
            if fields[2] in ("0", "1"):
                return fields[0], fields[1], fields[2]
            best = best or fields
    if not best:
        raise DataError(
            f"expected PATH PATH LABEL with tabs, commas or spaces between, got {line!r}; "
            "a path with spaces needs tabs or quotes"
        )
    return best[0], best[1], best[2]


def _fields(line: str, separator: str | None) -> list[str]:
    """The fields of a line; quotes are those of CSV."""
    if separator is None or '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return line.split(separator)


def existing(to_address: Resolve, path: str) -> str:
    """The address of a file; backslashes may stand between its folders."""
    for name in dict.fromkeys((path, path.replace("\\", "/"))):
        if address_exists(address := to_address(name)):
            return address
    raise DataError(
        f"there is no file {to_address(path)}; paths are relative to --root, or to the "
        "--data of a training"
    )


def _open(root: str | Path, settings: DataSettings) -> Pairs:
    """The pairs of a training; files joined by "same" pairs are one identity."""
    pairs = read_pairs(Path(root) / (settings.pair_file or "pairs.txt"), root)
    return pairs.with_identities()


SOURCE = Source(
    "pairs",
    "your file of PATH PATH LABEL lines",
    _open,
    protocol="pairs",
    yours="the folder of its images and pair file",
    read=lambda path, root, settings, same: read_pairs(path, root, same),
)
