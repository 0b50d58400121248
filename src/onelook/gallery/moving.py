"""Copy galleries between stores, migrate them to another model, import embeddings."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from onelook.bulk import read_manifest, read_shards
from onelook.data.items import ARCHIVE_SEPARATOR
from onelook.errors import DataError, GalleryError
from onelook.files import expanded
from onelook.gallery.folders import MANY, in_blocks
from onelook.gallery.gallery import Gallery
from onelook.gallery.store import Entry, GalleryStore, Stored, read_all, redact_url
from onelook.gallery.stores import create_store, opened, store_exists
from onelook.progress import tracked
from onelook.verifier import Verifier

BLOCK = 1024


@dataclass(frozen=True)
class Moved:
    """Numbers of images that are new in the target, and that it already had.

    ``left_behind`` are (identity, id in the old gallery) of images that cannot be embedded.
    """

    n_moved: int
    n_known: int
    left_behind: tuple[tuple[str, int], ...] = ()


def copy(source: str | Path, target: str | Path, progress: bool = True) -> Moved:
    """Copy a gallery to another store, such as from a file to PostgreSQL.

    Run again after a stop, it goes on. The copies have new ids.
    """
    with opened(source) as old:
        if not store_exists(target):
            _begin_copy(old, target)
        with opened(target) as new:
            if new.header != old.header:
                raise GalleryError(
                    f"{redact_url(target)} is a gallery of {_model_of(new)}, "
                    f"{redact_url(source)} one of {_model_of(old)}; onelook gallery "
                    "migrate embeds the images with another model"
                )
            return _fill(new, _entries(old, "copying", progress))


def _begin_copy(old: GalleryStore, target: str | Path) -> None:
    """Create the copy, with what the gallery answers by."""
    with closing(create_store(target, old.header)) as new:
        for name, value in old.settings().items():
            new.keep(name, value)


def migrate(
    verifier: Verifier, source: str | Path, target: str | Path, *, progress: bool = True
) -> Moved:
    """Embed all images of a gallery with another model, into a new gallery.

    Uses originals where they were kept, otherwise thumbnails, which are at most 96 pixels
    wide. Images with neither are left behind and named.
    """
    left_behind: list[tuple[str, int]] = []

    def embedded(entries: Iterable[Stored]) -> Iterator[Entry]:
        for block in in_blocks(entries, BLOCK):
            there = [one for one in block if one.original or one.thumbnail]
            left_behind.extend((o.identity, o.id) for o in block if o not in there)
            pictures = [one.original or one.thumbnail or b"" for one in there]
            vectors = verifier.embed(pictures, "right")
            for one, vector in zip(there, vectors, strict=True):
                yield replace(one, vector=vector)

    with opened(source) as old, Gallery(verifier, target) as gallery:
        moved = _fill(gallery.store, embedded(_entries(old, "embedding", progress)))
    return replace(moved, left_behind=tuple(left_behind))


def _model_of(store: GalleryStore) -> str:
    return f"the model {store.header.model!r} ({store.header.fingerprint})"


def _entries(store: GalleryStore, what: str, progress: bool) -> Iterator[Stored]:
    return tracked(read_all(store), what, progress, store.stats().n_images)


def import_vectors(gallery: Gallery, path: str | Path) -> Moved:
    """Enroll embeddings without images, as ``onelook embed`` writes them.

    The identity is the folder in the path, ``Ada`` for ``people/Ada/1.jpg``, or the file's
    name without its ending where there is no folder. A folder of shards is read shard by
    shard, and enrolled again without what the gallery has.

    Raises:
        GalleryError: If the embeddings are of another model, or of its left side.
        DataError: If something cannot be read, or shards are missing.
    """
    if expanded(path).is_dir() and not gallery.verifier.shared:
        _check_side(expanded(path))
    n_new = n_all = 0
    for content in read_shards(path):
        _check_model(gallery, path, content.fingerprint)
        for start in range(0, len(content.paths), BLOCK):
            paths = content.paths[start : start + BLOCK]
            n_new += gallery.enroll_vectors(
                [_identity(address) for address in paths],
                content.vectors[start : start + BLOCK],
                [{"path": address} for address in paths],
            ).n_new
        n_all += len(content.paths)
    if n_new >= MANY:
        gallery.maintain()  # a program that only enrolls ends before its index is built
    return Moved(n_new, n_all - n_new)


def _check_side(folder: Path) -> None:
    if read_manifest(folder).side != "right":
        raise GalleryError(
            f"{folder} is of the model's left side, a gallery is of its right side; embed "
            "the images with --side right"
        )


def _check_model(gallery: Gallery, path: str | Path, fingerprint: str) -> None:
    expected = gallery.verifier.fingerprint
    if fingerprint and fingerprint != expected:
        raise GalleryError(
            f"{path} is of the model {fingerprint}, the gallery of {expected}; "
            "embed the images again with the gallery's model"
        )


def _identity(address: str) -> str:
    path = PurePath(address)
    folder = path.parent.name
    in_archive = folder.endswith(ARCHIVE_SEPARATOR[0])  # in no folder of it
    name = path.stem if in_archive else folder or path.stem
    if not name:
        raise DataError(f"no identity in the path {address!r}; expected IDENTITY/IMAGE")
    return name


def _fill(store: GalleryStore, entries: Iterable[Entry]) -> Moved:
    n_moved = n_known = 0
    for block in in_blocks(entries, BLOCK):
        new = sum(store.enroll(block))
        n_moved, n_known = n_moved + new, n_known + len(block) - new
    return Moved(n_moved, n_known)
