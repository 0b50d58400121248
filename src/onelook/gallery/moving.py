"""Galleries between stores and between models, and embeddings that others made."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np

from onelook.errors import DataError, GalleryError
from onelook.gallery.gallery import Gallery, digest_of
from onelook.gallery.store import (
    Entry,
    GalleryStore,
    Stored,
    check_vectors,
    create_store,
    open_store,
    read_all,
    store_exists,
)
from onelook.vectors import read_vectors
from onelook.verifier import Verifier

BLOCK = 256
One = TypeVar("One")


@dataclass(frozen=True)
class Moved:
    """How many images are in the target now, and those that could not be embedded."""

    n_moved: int
    n_known: int
    left_behind: tuple[tuple[str, int], ...] = ()  # (identity, id in the old gallery)


def copy(
    source: str | Path, target: str | Path, report: Callable[[int], None] | None = None
) -> Moved:
    """Copy a gallery to another store, such as from a file to PostgreSQL.

    Begun again after a stop, it goes on. Ids are given anew.

    Args:
        source: URL of a gallery.
        target: URL of another; made if it is not there.
        report: Called with the number of entries done.

    Raises:
        GalleryError: If there is no source, or the target holds another model's gallery.
    """
    old = open_store(source)
    try:
        if not store_exists(target):
            new = create_store(target, old.header)
        else:
            new = open_store(target)
        try:
            if new.header != old.header:
                raise GalleryError(
                    f"{target} holds a gallery of another model ({new.header.model!r}, "
                    f"{new.header.fingerprint}) than {source} ({old.header.model!r}, "
                    f"{old.header.fingerprint}): onelook gallery migrate embeds anew"
                )
            return _fill(new, read_all(old), report)
        finally:
            new.close()
    finally:
        old.close()


def migrate(
    verifier: Verifier,
    source: str | Path,
    target: str | Path,
    report: Callable[[int], None] | None = None,
) -> Moved:
    """Embed all images of a gallery with another model, into a new gallery.

    Originals are taken where they were kept, or else thumbnails, which are at most 96
    pixels wide. Images without either are left behind and named.

    Args:
        verifier: The model to go to.
        source: URL of the gallery.
        target: URL of the new one, which must not be there or be of this model.
        report: Called with the number of entries done.

    Raises:
        GalleryError: If there is no source, or the target holds another model's gallery.
    """
    left_behind: list[tuple[str, int]] = []

    def embedded(entries: Iterable[Stored]) -> Iterator[Entry]:
        for block in _in_blocks(entries):
            there = [one for one in block if one.original or one.thumbnail]
            left_behind.extend((o.identity, o.id) for o in block if o not in there)
            pictures = [one.original or one.thumbnail or b"" for one in there]
            if there:
                vectors = verifier.embed_bytes(pictures, "right")
                yield from (
                    replace(_entry(one), vector=vector)
                    for one, vector in zip(there, vectors, strict=True)
                )

    old = open_store(source)
    try:
        with Gallery(verifier, target) as gallery:
            moved = _fill(gallery.store, embedded(read_all(old)), report)
    finally:
        old.close()
    return replace(moved, left_behind=tuple(left_behind))


def import_vectors(gallery: Gallery, path: str | Path) -> Moved:
    """Enroll embeddings without images: what ``onelook embed`` wrote, or others.

    The identity is the folder in the path, ``Ada`` for ``people/Ada/1.jpg``, or the file's
    name without its ending where there is no folder.

    Args:
        gallery: Of the model that made the embeddings.
        path: ``.parquet`` or ``.npz``; see ``read_vectors``.

    Raises:
        DataError: If the file cannot be read.
        GalleryError: If the embeddings are another model's.
    """
    content = read_vectors(path)
    expected = gallery.store.header.fingerprint
    if content.fingerprint and content.fingerprint != expected:
        raise GalleryError(
            f"{path} was made with the model {content.fingerprint}, the gallery with "
            f"{expected}: embed the images again with the gallery's model"
        )
    vectors = check_vectors(gallery.store.header, content.vectors)
    entries = (
        Entry(_identity(address), vector, digest_of(vector.tobytes()), {"path": address})
        for address, vector in zip(content.paths, vectors, strict=True)
    )
    return _fill(gallery.store, entries, None)


def _identity(address: str) -> str:
    path = PurePath(address)
    name = path.parent.name or path.stem
    if not name:
        raise DataError(f"no identity in the path {address!r}; expected IDENTITY/IMAGE")
    return name


def _fill(
    store: GalleryStore, entries: Iterable[Entry], report: Callable[[int], None] | None
) -> Moved:
    n_moved = n_known = 0
    for block in _in_blocks(entries):
        new = sum(store.enroll([_entry(one) for one in block]))
        n_moved, n_known = n_moved + new, n_known + len(block) - new
        if report is not None:
            report(n_moved + n_known)
    return Moved(n_moved, n_known)


def _entry(one: Entry) -> Entry:
    """The entry without the id that it had in another store."""
    vector = np.asarray(one.vector, np.float32)
    return Entry(
        one.identity, vector, one.digest, one.metadata, one.thumbnail, one.original
    )


def _in_blocks(entries: Iterable[One]) -> Iterator[list[One]]:
    waiting = iter(entries)
    while block := list(islice(waiting, BLOCK)):
        yield block
