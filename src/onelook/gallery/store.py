"""GalleryStore: what a place that keeps enrolled embeddings must do.

A store keeps entries and finds near ones. What an answer means (votes of several images,
scores of the model, thresholds, unknown probes) stands above it, once, in ``gallery.py``.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from onelook.errors import GalleryError, UnknownIdentityError

FORMAT = 1
MAX_NAME = 200  # characters of an identity
# Characters that make a line read from the other side, so that a name looks like another.
_OVERRIDES = frozenset("LRE RLE LRO RLO PDF LRI RLI FSI PDI".split())
Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
# The distance of a search in a store; the model's own score is computed above it.
Metric = Literal["cosine", "euclidean", "manhattan"]


@dataclass(frozen=True)
class Header:
    """The model that a store was created for; written once, when it is created."""

    fingerprint: str
    model: str
    embedding_size: int
    metric: Metric

    def check_size(self, most: int, keeper: str) -> None:
        """Refuse embeddings that are longer than a server keeps."""
        if self.embedding_size > most:
            raise GalleryError(
                f"{keeper} keeps embeddings of up to {most} numbers, {self.model!r} makes "
                f"{self.embedding_size}; use a file as the gallery"
            )

    def checked(self, vectors: NDArray[Any]) -> Floats:
        """Vectors (N, D) as float32."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.embedding_size:
            raise GalleryError(
                f"embeddings must have the gallery's shape (N, {self.embedding_size}), got "
                f"{vectors.shape}; do they come from another model than {self.model!r}?"
            )
        if not np.isfinite(vectors).all():
            raise GalleryError(
                "an embedding holds numbers that are not finite; encode again"
            )
        return vectors

    def vectors_of(self, entries: "Sequence[Entry]") -> Floats:
        """The entries' vectors (N, D), checked."""
        return self.checked(np.stack([entry.vector for entry in entries]))

    def queries(self, vectors: NDArray[Any], k: int) -> Floats:
        """``checked``; also refuses a ``k`` that is not positive."""
        if k < 1:
            raise ValueError(f"k must be positive, got {k}")
        return self.checked(vectors)


@dataclass(frozen=True, eq=False)
class Entry:
    """One image of an identity, to be enrolled.

    ``digest`` is the SHA-256 in hexadecimal of the image's bytes, or of the vector where
    there is no image. An identity has each digest at most once.
    """

    identity: str
    vector: Floats
    digest: str
    metadata: dict[str, Any] = field(default_factory=dict)
    thumbnail: bytes | None = None
    original: bytes | None = None


@dataclass(frozen=True, eq=False)
class Stored(Entry):
    """An entry in a store; its ``id`` is never used again, not even after a forget."""

    id: int = 0


@dataclass(frozen=True, eq=False)
class Hit:
    """An entry near a query: what the model's own score is computed from."""

    id: int
    identity: str
    vector: Floats


@dataclass(frozen=True)
class Stats:
    """Size of a store (no bytes where a server does not tell), and its method of search."""

    n_identities: int
    n_images: int
    n_bytes: int | None
    search: str


class GalleryStore(Protocol):
    """A place that keeps entries: a file, PostgreSQL or Milvus.

    Every method may be called from any thread. Other processes may read and write the same
    store; the next call sees their acknowledged writes.
    """

    @property
    def header(self) -> Header: ...

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        """Keep entries, all or none, and return which of them are new.

        Returns once they are durable. An entry whose identity has its digest is not new.
        """

    def search(self, queries: Floats, k: int) -> list[list[Hit]]:
        """The nearest ``k`` entries of each query (N, D), nearest first."""

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        """Up to ``limit`` entries whose ids are above ``after``, in the order of ids."""

    def images_of(self, identities: Sequence[str], most: int) -> list[Hit]:
        """The latest ``most`` entries of each of these identities."""
        ...

    def identities(self) -> dict[str, int]:
        """Number of entries of every identity, sorted by name."""

    def forget(self, identity: str) -> int:
        """Remove an identity, also from disk, and return the number of its entries.

        Returns only when vectors, thumbnails and originals are gone.
        """

    def rename(self, identity: str, new: str) -> int:
        """Give all entries of ``identity`` the name ``new``, and return their number.

        An entry whose digest ``new`` already has is removed.
        """

    def stats(self) -> Stats: ...

    def settings(self) -> dict[str, bytes]:
        """What ``keep`` kept, by name."""

    def keep(self, name: str, value: bytes) -> None:
        """Keep a value under a name, in place of an older one; returns once durable."""

    def maintain(self) -> None:
        """Rebuild the index and give space back, where that is due."""

    def close(self) -> None: ...


def forget_identity(store: GalleryStore, identity: str) -> int:
    """``Gallery.forget``, which needs no model."""
    forgotten = [store.forget(name) for name in forms_of(identity)]
    return some_images(sum(forgotten), identity)


def rename_identity(store: GalleryStore, identity: str, new: str) -> int:
    """``Gallery.rename``, which needs no model."""
    new = validate_name(new)
    renamed = [store.rename(name, new) for name in forms_of(identity)]
    return some_images(sum(renamed), identity)


def validate_name(identity: str) -> str:
    """The name of an identity, if every store can keep it and every URL can hold it."""
    name = clean_name(identity)
    if any(unicodedata.category(one) == "Cs" for one in name):
        raise ValueError(f"the identity {name!r} is not UTF-8; rename it")
    has_controls = any(
        unicodedata.category(one) in ("Cc", "Zl", "Zp")
        or unicodedata.bidirectional(one) in _OVERRIDES
        for one in name
    )
    has_dots = any(step in (".", "..") for step in name.split("/"))
    if not name.strip(". ") or len(name) > MAX_NAME or has_controls or has_dots:
        raise ValueError(
            f"an identity needs a name of 1 to {MAX_NAME} characters, not only dots or "
            f"spaces and without control characters, got {identity[: MAX_NAME + 1]!r}"
        )
    return name


def clean_name(identity: str) -> str:
    """The name as it is kept, so that what looks alike is one identity."""
    return unicodedata.normalize("NFC", identity.strip())


def forms_of(identity: str) -> list[str]:
    """The clean name, and how an older gallery may hold it."""
    name = clean_name(identity)
    return list(dict.fromkeys([name, identity, unicodedata.normalize("NFD", name)]))


def kept_name(store: GalleryStore, identity: str) -> str:
    """The name as a store holds it: an older gallery may have names that are not clean."""
    clean, *others = forms_of(identity)
    if not others or store.read(clean, limit=1):
        return clean
    return next((name for name in others if store.read(name, limit=1)), clean)


def some_images(n: int, identity: str) -> int:
    """``n``, unless it is 0: then no such identity is enrolled."""
    if n == 0:
        raise UnknownIdentityError(
            f"no identity {identity!r} in the gallery; see onelook gallery list GALLERY"
        )
    return n


def read_all(store: GalleryStore, identity: str | None = None) -> Iterator[Stored]:
    """Every entry of the store, or of one identity, in the order of ids."""
    after = 0
    while entries := store.read(identity, after):
        yield from entries
        after = entries[-1].id


def blocks_of(queries: Floats, k: int) -> list[Floats]:
    """Queries (N, D) in blocks whose hits' vectors take at most 64 MB."""
    step = max(1, 2**24 // (k * queries.shape[1]))
    return [queries[start : start + step] for start in range(0, len(queries), step)]


def digest_of(data: bytes) -> str:
    """SHA-256 in hexadecimal, which tells whether an image is enrolled."""
    return hashlib.sha256(data).hexdigest()


def no_gallery(url: str) -> GalleryError:
    """The error where a gallery is opened that does not exist."""
    return GalleryError(f"no gallery at {redact_url(url)}; onelook enroll creates it")


def already_exists(url: str) -> GalleryError:
    """The error where a gallery is created that exists."""
    return GalleryError(f"{redact_url(url)} already exists; open it, or use another name")


def wrong_format(url: str, found: object) -> GalleryError:
    """The error for a gallery in a format that this version does not read."""
    return GalleryError(
        f"{redact_url(url)} has gallery format {found}, onelook {version('onelook')} reads "
        f"format {FORMAT}; upgrade onelook (pip install -U onelook)"
    )


def redact_url(url: str | Path) -> str:
    """The URL without user, password and options, for messages."""
    scheme, separator, rest = str(url).partition("://")
    if not separator:
        return str(url)
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
