"""NearIndex: a usearch index in a file beside a gallery; a cache that can be rebuilt.

The file is what usearch writes, followed by the ids in the order of rows, a checksum of
every block of both, and an end that names the state of the gallery that it was built from.
Processes map it into memory and so share it; the vectors of forgotten entries are
overwritten in place. A file that was damaged is not opened: usearch would crash, or miss
entries.
"""

import os
import struct
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from onelook.files import PRIVATE
from onelook.gallery.store import Floats, Header, Ids, Metric
from onelook.runtime.scores import unit_vectors

# usearch has no Manhattan distance. For the types and sizes see benchmarks/gallery.py.
METRICS = {"cosine": "ip", "euclidean": "l2sq"}
ROW_TYPE, ROW_BYTES = "bf16", 2
CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 16, 128, 512
END = struct.Struct("<8s32sqQ")  # the mark below, the state, the number of ids
MAGIC = b"onelook2"
SUMMED = 2**20  # bytes of a block
ROWS_AT = 8  # usearch's file begins with the shape of the matrix of rows


@dataclass(frozen=True)
class Built:
    """The state of a gallery that an index was built from."""

    token: str = ""  # its name, 32 letters; "" for none
    last_id: int = 0  # the last entry that is in the index


class NearIndex:
    """Finds near entries among those that a gallery held when its index was built."""

    def __init__(self, index: Any, metric: Metric) -> None:
        self._index = index
        self._metric = metric
        self._lock = threading.Lock()  # usearch numbers its threads from 0 in each call

    def __len__(self) -> int:
        return len(self._index)

    @classmethod
    def open(cls, path: Path, built: Built, header: Header) -> "NearIndex | None":
        """The index at ``path``; None if there is none of this state, or it is damaged."""
        if not is_whole(path, built):
            return None
        index = new_index(header)
        try:
            index.view(os.fspath(path))
        except (OSError, ValueError, RuntimeError):
            return None
        return cls(index, header.metric)

    def search(self, queries: Floats, k: int) -> list[Ids]:
        """The ids of about ``k`` near entries of each query (N, D), nearest first."""
        threads = 1 if len(queries) == 1 else 0  # 0: all cores
        with self._lock:
            found = self._index.search(prepared(queries, self._metric), k, threads=threads)
        if len(queries) == 1:  # usearch then returns one answer, not a batch of one
            return [np.asarray(found.keys).astype(np.int64)]
        return [
            row[:n].astype(np.int64)
            for row, n in zip(found.keys, found.counts, strict=True)
        ]


def new_index(header: Header) -> Any:
    """An empty usearch index for the vectors of a gallery."""
    from usearch.index import Index

    return Index(
        ndim=header.embedding_size,
        metric=METRICS[header.metric],
        dtype=ROW_TYPE,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def prepared(vectors: Floats, metric: Metric) -> Floats:
    """Vectors (N, D) as the index takes them: of length 1 where it compares cosines."""
    return unit_vectors(vectors) if metric == "cosine" else vectors


def write_index(path: Path, index: Any, built: Built) -> None:
    """Write an index with the ids of its rows and the checksums, durably."""
    path.touch(PRIVATE)  # as private as the gallery itself
    index.save(os.fspath(path))
    ids = _ids_in_order_of_rows(path, len(index))
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(ids.tobytes())
        size = file.tell()
        sums = _sums(file, range(-(-size // SUMMED)), size)
        file.seek(size)
        file.write(np.array(sums, np.uint32).tobytes())
        file.write(END.pack(MAGIC, built.token.encode("ascii"), built.last_id, len(ids)))
        file.flush()
        os.fsync(file.fileno())


def is_whole(path: Path, built: Built) -> bool:
    """Whether a file has this state, and all of it is what was written."""
    try:
        with path.open("rb") as file:
            parts = _parts(file, built.token)
            if parts is None or parts.built != built:
                return False
            found = _sums(file, range(len(parts.sums)), parts.size)
            return bool(np.array_equal(found, parts.sums))
    except OSError:
        return False


@dataclass(frozen=True, eq=False)
class _Parts:
    """What follows usearch's part: ids (N,), sums (B,) of ``size`` bytes before."""

    built: Built
    ids: Ids
    sums: NDArray[np.uint32]
    size: int


def _parts(file: IO[bytes], token: str) -> _Parts | None:
    """The parts of an open file; None if it has none, or not of the state ``token``."""
    length = file.seek(0, os.SEEK_END) - END.size
    if length < 0:
        return None
    file.seek(length)
    magic, found, last_id, n = END.unpack(file.read(END.size))
    # So many blocks that they and their sums fill what is before the end.
    n_blocks = -(-length // (SUMMED + 4))
    size = length - 4 * n_blocks
    if magic != MAGIC or found != token.encode("ascii") or 8 * n > size:
        return None
    file.seek(size - 8 * n)
    ids = np.frombuffer(file.read(8 * n), np.int64)
    sums = np.frombuffer(file.read(4 * n_blocks), np.uint32)
    return _Parts(Built(token, last_id), ids, sums, size)


def _sums(file: IO[bytes], blocks: Iterable[int], size: int) -> list[int]:
    """Checksums of blocks of the first ``size`` bytes of a file."""
    sums = []
    for block in blocks:
        file.seek(block * SUMMED)
        sums.append(zlib.crc32(file.read(min(SUMMED, size - block * SUMMED))))
    return sums


def overwrite_rows(path: Path, token: str, gone: Sequence[int], row_size: int) -> bool:
    """Overwrite vectors (N, row_size) of the ids ``gone`` with zeros, durably.

    Gives whether the file has the state ``token``; otherwise nothing is written.
    """
    try:
        with path.open("r+b") as file:
            parts = _parts(file, token)
            if parts is None:
                return False
            size, touched = row_size * ROW_BYTES, set[int]()
            for row in np.flatnonzero(np.isin(parts.ids, gone)).tolist():
                at = ROWS_AT + row * size
                file.seek(at)
                file.write(bytes(size))
                touched |= {at // SUMMED, (at + size - 1) // SUMMED}
            blocks = sorted(touched)
            for block, found in zip(blocks, _sums(file, blocks, parts.size), strict=True):
                file.seek(parts.size + 4 * block)
                file.write(found.to_bytes(4, "little"))
            file.flush()
            os.fsync(file.fileno())
            return True
    except FileNotFoundError:
        return False


def _ids_in_order_of_rows(path: Path, n: int) -> Ids:
    """The id of every row of a file that usearch 2 wrote.

    usearch fills rows in the order in which its threads arrive; only the nodes of its graph
    tell which. The rows are followed by a head of 64 bytes, five numbers (nodes, neighbours
    of a node above the ground and on it, two more), the level of each node, and the nodes:
    each its key, its level, and lists of neighbours with their lengths.
    """
    content = np.memmap(path, np.uint8, "r")
    shape = content[:ROWS_AT].view(np.uint32).astype(np.int64)
    at = ROWS_AT + int(shape[0] * shape[1]) + 64
    size, above, ground = content[at : at + 24].view(np.uint64).astype(np.int64)
    at += 40
    levels = content[at : at + 2 * n].view(np.int16).astype(np.int64)
    nodes = 10 + 4 * (1 + ground) + levels * 4 * (1 + above)
    starts = at + 2 * n + np.cumsum(nodes) - nodes
    if int(size) != n or starts[-1] + nodes[-1] != len(content):
        raise RuntimeError("this version of usearch writes another file format")
    keys: Ids = content[starts[:, None] + np.arange(8)].view(np.int64)[:, 0]
    return keys
