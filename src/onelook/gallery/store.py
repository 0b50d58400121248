"""GalleryStore: what a place that keeps enrolled embeddings must do.

A store keeps entries and finds near ones. What an answer means (votes of several images,
scores of the model, thresholds, unknown probes) stands above it, once, in ``gallery.py``.
"""

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
# How near is measured inside a store; the model's own score is computed above it.
Metric = Literal["cosine", "euclidean", "manhattan"]


@dataclass(frozen=True)
class Header:
    """What a store was made for; written once, when it is made.

    Args:
        fingerprint: Of the model whose embeddings are kept (``Verifier.fingerprint``).
        model: What people call that model.
        embedding_size: D.
        metric: How near is measured.
    """

    fingerprint: str
    model: str
    embedding_size: int
    metric: Metric


@dataclass(frozen=True, eq=False)
class Entry:
    """One image of an identity, to be enrolled.

    Args:
        identity: Who or what it shows.
        vector: (D,) float32.
        digest: SHA-256 of the image's bytes, or of the vector where there is no image; in
            hexadecimal. One identity has a digest at most once.
        metadata: JSON values.
        thumbnail: A small encoded picture for people, or None.
        original: The image file's bytes where they are kept, or None.
    """

    identity: str
    vector: NDArray[np.float32]
    digest: str
    metadata: dict[str, Any] = field(default_factory=dict)
    thumbnail: bytes | None = None
    original: bytes | None = None


@dataclass(frozen=True, eq=False)
class Stored(Entry):
    """An entry in a store; ``id`` is never used again, not even after a forget."""

    id: int = 0


@dataclass(frozen=True, eq=False)
class Hit:
    """An entry that was found near: enough of it to compute the model's own score."""

    id: int
    identity: str
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class Stats:
    """What a store holds: counts, and bytes on disk (None where a server does not tell)."""

    n_identities: int
    n_images: int
    n_bytes: int | None
    search: str  # how it searches now, for people: "exact" or the name of the index


class GalleryStore(Protocol):
    """A place that keeps entries: a file, PostgreSQL, Milvus.

    Every method may be called from any thread. Other processes may read and write the same
    store; their acknowledged writes are seen by the next call.
    """

    @property
    def header(self) -> Header: ...

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        """Keep entries, all or none; which of them are new.

        Returns once they are durable. An entry whose identity has its digest already is
        not kept again.
        """
        ...

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """For each query (N, D) the nearest ``k`` entries, the nearest first."""
        ...

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        """Up to ``limit`` entries whose ids are above ``after``, in the order of ids."""
        ...

    def identities(self) -> dict[str, int]:
        """Number of entries of every identity, sorted by name."""
        ...

    def forget(self, identity: str) -> int:
        """Remove all of an identity, from disk too; how many entries that were.

        Returns only when vectors, thumbnails and originals are gone.
        """
        ...

    def rename(self, identity: str, new: str) -> int:
        """Give all entries of ``identity`` the name ``new``; how many.

        Where ``new`` has the digest of an entry already, that entry is removed.
        """
        ...

    def stats(self) -> Stats: ...

    def maintain(self) -> None:
        """Whatever keeps the store quick: rebuild an index, compact a file."""
        ...

    def close(self) -> None: ...


def forget_identity(store: GalleryStore, identity: str) -> int:
    """Remove all of an identity, from disk too; how many images that were.

    Raises:
        UnknownIdentityError: If the gallery does not know it.
    """
    return some_images(store.forget(identity), identity)


def rename_identity(store: GalleryStore, identity: str, new: str) -> int:
    """Give an identity another name, or join it to one that is there; how many images.

    Raises:
        UnknownIdentityError: If the gallery does not know it.
        ValueError: If the new name is empty.
    """
    return some_images(store.rename(identity, validate_name(new)), identity)


def validate_name(identity: str) -> str:
    """The name of an identity, if every store can keep it and every URL can hold it."""
    controls = any(unicodedata.category(one) in ("Cc", "Cs") for one in identity)
    if not identity.strip(". ") or len(identity) > MAX_NAME or controls:
        raise ValueError(
            f"an identity needs a name of 1 to {MAX_NAME} characters, not only dots or "
            f"spaces and without control characters, got {identity[: MAX_NAME + 1]!r}"
        )
    return identity


def some_images(n: int, identity: str) -> int:
    """``n``, unless it is 0: then no such identity is enrolled."""
    if n == 0:
        raise UnknownIdentityError(
            f"no identity {identity!r} in the gallery; see onelook gallery list GALLERY"
        )
    return n


def read_all(store: GalleryStore, identity: str | None = None) -> Iterator[Stored]:
    """Every entry of the store, or of one identity, in the order of their ids."""
    after = 0
    while entries := store.read(identity, after):
        yield from entries
        after = entries[-1].id


def check_vectors(header: Header, vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors (N, D) as float32.

    Raises:
        GalleryError: If D is not the store's, or a number is not finite.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != header.embedding_size:
        raise GalleryError(
            f"embeddings must have shape (N, {header.embedding_size}), the gallery's, got "
            f"{vectors.shape}; they come from another model than {header.model!r}"
        )
    if not np.isfinite(vectors).all():
        raise GalleryError("an embedding holds numbers that are not finite; encode again")
    return vectors


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
