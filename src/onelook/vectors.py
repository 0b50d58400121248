"""Embed many files; vectors beside their paths, written and read as NPZ or Parquet."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from onelook.data.archives import addresses_of
from onelook.data.reading import is_utf8, refuse_bad
from onelook.errors import DataError, one_line
from onelook.extras import import_extra
from onelook.files import PRIVATE, check_regular, expanded, whole_file
from onelook.progress import progress_bar
from onelook.verifier import Verifier

Encoded = TypeVar("Encoded")

BLOCK = 256
KINDS = (".npz", ".parquet")
FINGERPRINT_KEY = "onelook.fingerprint"
BAD_KEY = "onelook.bad"


@dataclass(frozen=True, eq=False)
class Vectors:
    """N embeddings (N, D) float32 with the address of each, and what could not be read."""

    paths: tuple[str, ...]
    vectors: NDArray[np.float32]
    bad: list[tuple[str, str]]
    fingerprint: str = ""


def embed_files(
    verifier: Verifier,
    paths: Sequence[str | Path],
    side: str = "left",
    skip_bad: bool = False,
    progress: bool = True,
) -> Vectors:
    """Embeddings of files and of all files in folders and archives, in order.

    Args:
        verifier: The model.
        paths: Files, folders, archives; for a text model the texts themselves.
        side: "left" or "right": the encoder of a pseudo-siamese network that is used.
        skip_bad: Go on without files that cannot be read.
        progress: Draw a bar on a terminal.

    Raises:
        DataError: If nothing is there, or, at the end, if files could not be read.
    """
    addresses = addresses_of(paths, verifier.input_of(side).suffixes)
    kept, vectors, bad = encode_files(
        addresses, lambda some: verifier.embed(some, side), skip_bad, progress
    )
    return Vectors(kept, np.stack(vectors), bad, verifier.fingerprint)


def encode_files(
    addresses: Sequence[str],
    encode: Callable[[Sequence[str]], Iterable[Encoded]],
    skip_bad: bool = False,
    progress: bool = True,
) -> tuple[tuple[str, ...], tuple[Encoded, ...], list[tuple[str, str]]]:
    """The files that can be read, what ``encode`` makes of each, and the others with why.

    Raises:
        DataError: As ``embed_files``.
    """
    if not skip_bad:  # before the work
        refuse_bad(not_utf8(addresses), len(addresses), "files", skippable=True)
    found, bad = encode_readable(addresses, encode, progress)
    if not skip_bad or not found:
        refuse_bad(bad, len(addresses), "files", skippable=not skip_bad)
    kept, encoded = zip(*found, strict=True)
    return kept, encoded, bad


def encode_readable(
    addresses: Sequence[str],
    encode: Callable[[Sequence[str]], Iterable[Encoded]],
    progress: bool = True,
) -> tuple[list[tuple[str, Encoded]], list[tuple[str, str]]]:
    """The files that can be read, each with what ``encode`` gives; the others with why."""
    bad, found = not_utf8(addresses), list[tuple[str, Encoded]]()
    readable = list(filter(is_utf8, addresses))
    with progress_bar("embedding", len(addresses), shown=progress) as advance:
        for start in range(0, len(readable), BLOCK):
            block = readable[start : start + BLOCK]
            found += encode_block(block, encode, bad)
            advance(len(block))
    return found, bad


def not_utf8(addresses: Sequence[str]) -> list[tuple[str, str]]:
    """The addresses that no file of vectors can hold, each with why."""
    reason = "its name is not UTF-8; rename it"
    return [(one, reason) for one in addresses if not is_utf8(one)]


def write_vectors(path: str | Path, content: Vectors) -> Path:
    """Write ``paths`` and ``vectors`` (.npz) or columns ``path`` and ``vector`` (.parquet).

    Raises:
        ValueError: If the ending is neither.
        OnelookError: If Parquet is asked for and pyarrow is not installed.
    """
    target = expanded(path)
    check_ending(target)
    with whole_file(target, PRIVATE) as file:
        if target.suffix == ".npz":
            paths, fingerprint = np.array(content.paths), np.array(content.fingerprint)
            np.savez(file, paths=paths, vectors=content.vectors, fingerprint=fingerprint)
        else:
            _write_parquet(file, content)
    return target


def read_vectors(path: str | Path) -> Vectors:
    """What ``write_vectors`` wrote, or a Parquet or NPZ file of others with such columns.

    Args:
        path: ``.npz`` with arrays ``paths`` and ``vectors``, or ``.parquet`` with columns
            ``path`` and ``vector``.

    Raises:
        DataError: If the file cannot be read, or something in it is missing.
    """
    source = expanded(path)
    check_ending(source)
    check_regular(source)
    read = _read_npz if source.suffix == ".npz" else _read_parquet
    try:
        paths, vectors, fingerprint = read(source)
    # NumPy, zipfile and pyarrow raise many kinds on damaged bytes.
    except Exception as error:
        raise DataError(
            f"{source} cannot be read as embeddings: {one_line(error)}; write such a file "
            "with: onelook embed IMAGES --out vectors.parquet"
        ) from error
    if vectors.ndim != 2 or len(paths) != len(vectors):
        raise DataError(
            f"{source} holds {len(paths):,} paths and vectors of shape {vectors.shape}; "
            "expected (N, D) with one path each"
        )
    return Vectors(tuple(paths), vectors, [], fingerprint)


def count_vectors(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """The number of vectors in a Parquet file of ours, and what could not be read.

    Raises:
        DataError: If it cannot be read.
    """
    _, parquet = _pyarrow()
    try:
        head = parquet.read_metadata(path)
        bad = json.loads((head.metadata or {}).get(BAD_KEY.encode(), b"[]"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as embeddings: {one_line(error)}; remove it, and the "
            "same onelook embed makes it again"
        ) from error
    return head.num_rows, [(name, reason) for name, reason in bad]


def check_ending(path: str | Path) -> None:
    """Refuse, before any work, a file that could not be written or read."""
    if Path(path).suffix not in KINDS:
        raise ValueError(
            "vectors go into a file ending in .npz or .parquet, or into a folder, got "
            f"{str(path)!r}"
        )
    if Path(path).suffix == ".parquet":
        _pyarrow()


def encode_block(
    addresses: Sequence[str],
    encode: Callable[[Sequence[str]], Iterable[Encoded]],
    bad: list[tuple[str, str]],
) -> list[tuple[str, Encoded]]:
    """Addresses with what they give; one by one where some are bad, which are listed."""
    try:
        return list(zip(addresses, encode(addresses), strict=True))
    except DataError as error:
        if len(addresses) == 1:
            bad.append((addresses[0], _reason(error, addresses[0])))
            return []
    blocks = [encode_block([address], encode, bad) for address in addresses]
    return [entry for block in blocks for entry in block]


def _reason(error: DataError, address: str) -> str:
    """The part of a message about one file that says why."""
    lines = [line.strip() for line in str(error).splitlines()]
    line = next((line for line in lines if line.startswith(f"{address}: ")), lines[0])
    return line.removeprefix(f"{address}: ").removeprefix("image 1: ")  # of bytes


def _write_parquet(file: BinaryIO, content: Vectors) -> None:
    pyarrow, parquet = _pyarrow()
    size = content.vectors.shape[1]
    flat = pyarrow.array(content.vectors.reshape(-1))
    vectors = pyarrow.FixedSizeListArray.from_arrays(flat, size)
    table = pyarrow.table({"path": list(content.paths), "vector": vectors})
    kept = {FINGERPRINT_KEY: content.fingerprint, BAD_KEY: json.dumps(content.bad)}
    table = table.replace_schema_metadata(kept)
    parquet.write_table(table, file)


def _read_npz(source: Path) -> tuple[list[str], NDArray[np.float32], str]:
    # NumPy leaves a file open that it opened itself and cannot read.
    with source.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        fingerprint = str(file["fingerprint"]) if "fingerprint" in file else ""
        return file["paths"].tolist(), file["vectors"].astype(np.float32), fingerprint


def _read_parquet(source: Path) -> tuple[list[str], NDArray[np.float32], str]:
    _, parquet = _pyarrow()
    table = parquet.read_table(source)
    paths, column = table["path"].to_pylist(), table["vector"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    fingerprint = (table.schema.metadata or {}).get(FINGERPRINT_KEY.encode(), b"")
    return paths, flat.reshape(len(paths), -1), fingerprint.decode()


def _pyarrow() -> tuple[Any, Any]:
    purpose = "a .parquet file"
    parquet = import_extra("pyarrow.parquet", "parquet", purpose)
    return import_extra("pyarrow", "parquet", purpose), parquet
