"""What the tests of all stores share: where a gallery goes, entries, child processes.

``servers.py`` starts the servers: ``postgres_url()`` and ``milvus_url()`` are context
managers that give the URL of a gallery that does not exist yet (or skip, or fail under
ONELOOK_REQUIRE_DATA), and ``files_of(url)`` lists the files that could hold its bytes.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelook.gallery.store import Entry, Header

KINDS = ("file", "postgres", "milvus")
SIZE = 16
HEADER = Header("0123456789abcdef", "omniglot", SIZE, "cosine")
# What a kind of store does not promise; docs/galleries.md says why, and test_milvus.py what
# it does instead. Nothing else may be missing.
KEEPS_NO_ORIGINALS = {"milvus"}
PURGES_LATER = {"milvus"}
CHILDREN = Path(__file__).with_name("children.py")


@dataclass(frozen=True)
class Place:
    """Where a test's gallery goes, and the files that could hold its bytes."""

    kind: str
    url: str
    files: Callable[[], list[Path]]

    def holds(self, what: bytes) -> bool:
        """Whether the bytes lie in one of the files."""
        return any(what in file.read_bytes() for file in self.files())


@contextmanager
def place_of(kind: str, folder: Path) -> Iterator[Place]:
    """A place for one gallery; a server runs as long as the ``with``, at least."""
    if kind == "file":
        url = str(folder / "gallery.db")
        yield Place(kind, url, lambda: [f for f in folder.rglob("*") if f.is_file()])
        return
    import servers

    with getattr(servers, f"{kind}_url")() as url:
        yield Place(kind, url, lambda: servers.files_of(url))


def vectors_of(n: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Vectors (n, size) float32, no two alike."""
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


def entries_of(identity: str, vectors: np.ndarray, name: str = "") -> list[Entry]:
    """One entry for each vector (N, D), with a thumbnail that tells it from others."""
    return [
        Entry(
            identity,
            vector,
            digest=f"{name or identity}-{i}",
            metadata={"image": i},
            thumbnail=f"picture {identity} {i} ".encode() * 20,
        )
        for i, vector in enumerate(vectors)
    ]


def with_digests(entries: list[Entry], digests: list[str]) -> list[Entry]:
    return [replace(e, digest=d) for e, d in zip(entries, digests, strict=True)]


def start_child(verb: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that does what ``children.py`` calls ``verb``."""
    return subprocess.Popen(
        [sys.executable, str(CHILDREN), verb, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
