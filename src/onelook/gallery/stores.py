"""Opening a gallery's store by its URL."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from onelook.errors import GalleryError
from onelook.gallery.store import GalleryStore, Header, redact_url

if TYPE_CHECKING:
    from onelook.gallery.milvus import MilvusStore
    from onelook.gallery.postgres import PostgresStore
    from onelook.gallery.sqlite import SqliteStore


def open_store(url: str | Path) -> GalleryStore:
    """The store at a file's path, ``postgresql://…`` or ``milvus://…``."""
    return _class_of(url).open(str(url))


def create_store(url: str | Path, header: Header) -> GalleryStore:
    """A new, empty store at ``url``."""
    return _class_of(url).create(str(url), header)


def store_exists(url: str | Path) -> bool:
    """Whether there is a gallery at ``url``."""
    return _class_of(url).exists(str(url))


def opened(url: str | Path) -> "closing[GalleryStore]":
    """``open_store`` for a ``with``."""
    return closing(open_store(url))


def _class_of(url: str | Path) -> "type[SqliteStore | PostgresStore | MilvusStore]":
    """The class of the store; a server's client is imported only where it is needed."""
    scheme = urlsplit(str(url)).scheme if "://" in str(url) else "file"
    if scheme == "file":
        from onelook.gallery.sqlite import SqliteStore

        return SqliteStore
    if scheme in ("postgresql", "postgres"):
        from onelook.gallery.postgres import PostgresStore

        return PostgresStore
    if scheme in ("milvus", "milvuss"):
        from onelook.gallery.milvus import MilvusStore

        return MilvusStore
    raise GalleryError(
        f"no gallery at {redact_url(url)}: expected a file, postgresql://… or milvus://…"
    )
