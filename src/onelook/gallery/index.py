"""NearIndex: a usearch index in a file beside a gallery; a cache that can be rebuilt.

The file is what usearch writes, followed by the ids in the order of rows and an end that
names the state of the gallery that it was built from. Processes map it into memory and so
share it; the vectors of forgotten entries are overwritten in place.
"""

import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelook.gallery.store import Floats, Header, Ids, Metric
from onelook.runtime.scores import unit_vectors

# usearch has no Manhattan distance. For the types and sizes see benchmarks/gallery.py.
METRICS = {"cosine": "ip", "euclidean": "l2sq"}
ROW_TYPE, ROW_BYTES = "bf16", 2
CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 16, 128, 512
END = struct.Struct("<8s32sQ")  # the mark below, the state, the number of ids before it
MAGIC = b"onelook1"
ROWS_AT = 8  # usearch's file begins with the shape of the matrix of rows


class NearIndex:
    """Finds near entries among those that a gallery held when its index was built."""

    def __init__(self, index: Any, metric: Metric) -> None:
        self._index = index
        self._metric = metric
        self._lock = threading.Lock()  # usearch numbers its threads from 0 in each call

    def __len__(self) -> int:
        return len(self._index)

    @classmethod
    def open(cls, path: Path, token: str, header: Header) -> "NearIndex | None":
        """The index at ``path``; None if there is none, or not of the state ``token``."""
        if ids_of_rows(path, token) is None:
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


def write_index(path: Path, index: Any, token: str) -> None:
    """Write an index with the ids of its rows, durably."""
    path.touch(0o600)  # as private as the gallery itself
    index.save(os.fspath(path))
    ids = _ids_in_order_of_rows(path, len(index))
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(ids.tobytes())
        file.write(END.pack(MAGIC, token.encode("ascii"), len(ids)))
        file.flush()
        os.fsync(file.fileno())


def ids_of_rows(path: Path, token: str) -> Ids | None:
    """The ids (N,) in the order of a file's rows; None if its state is not ``token``."""
    try:
        with path.open("rb") as file:
            file.seek(-END.size, os.SEEK_END)
            magic, found, n = END.unpack(file.read(END.size))
            if magic != MAGIC or found != token.encode("ascii"):
                return None
            file.seek(-END.size - 8 * n, os.SEEK_END)
            return np.frombuffer(file.read(8 * n), np.int64)
    except OSError:  # missing, or shorter than its end
        return None


def overwrite_rows(path: Path, token: str, gone: Sequence[int], size: int) -> bool:
    """Overwrite vectors (N, size) of the ids ``gone`` with zeros, durably.

    Gives whether the file has the state ``token``; otherwise nothing is written.
    """
    ids = ids_of_rows(path, token)
    if ids is None:
        return False
    rows = np.flatnonzero(np.isin(ids, gone))
    if len(rows):
        with path.open("r+b") as file:
            for row in rows.tolist():
                file.seek(ROWS_AT + row * size * ROW_BYTES)
                file.write(bytes(size * ROW_BYTES))
            file.flush()
            os.fsync(file.fileno())
    return True


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
