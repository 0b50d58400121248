"""The SQLite file of a gallery: creating and opening it, and its errors."""

import json
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onelook.errors import GalleryError
from onelook.files import PRIVATE
from onelook.gallery.sqlite_rows import SCHEMA, add_checksums
from onelook.gallery.store import FORMAT, Header, already_exists, no_gallery, wrong_format

APPLICATION = 0x6F6E6C6B  # "onlk": SQLite's mark of the application that owns a file
WAIT_SECONDS = 30.0  # for other processes that write or keep an old state open


def create_file(path: Path, header: Header) -> None:
    """Create an empty gallery at ``path``, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    if not path.parent.is_dir():
        raise GalleryError(
            f"there is no folder {path.parent} for the gallery {path.name}; create it, or "
            "choose another place"
        )
    _refuse_leftovers(path)
    try:
        fresh.touch(PRIVATE, exist_ok=False)  # names and faces are for the owner alone
        with (
            errors_of(path),
            closing(sqlite3.connect(fresh, isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("PRAGMA secure_delete = ON")
            connection.executescript(SCHEMA)
            content = json.dumps(asdict(header))
            connection.execute("INSERT INTO header VALUES (?)", [content])
            connection.execute("PRAGMA journal_mode = WAL")
        os.link(fresh, path)  # unlike a rename it never replaces another file
        sync_folder(path.parent)
    except OSError as error:
        if path.exists():
            raise already_exists(str(path)) from error
        raise GalleryError(
            f"cannot create a gallery at {path}: {error.strerror}"
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def _refuse_leftovers(path: Path) -> None:
    """Refuse a name beside which files of a lost gallery lie: SQLite would take its log."""
    beside = [path.with_name(f"{path.name}{end}") for end in ("-wal", ".usearch")]
    left = " and ".join(file.name for file in beside if file.exists())
    # Looked for last: another process may just have made the gallery and its log.
    if left and not path.exists():
        raise GalleryError(
            f"cannot create {path}: {left} of a lost gallery lies there and holds its "
            "entries; put that gallery back beside it, or remove it"
        )


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of its name; None where there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the gallery at ``path``, for one thread at a time."""
    if not path.is_file():
        raise no_gallery(str(path))
    with errors_of(path):
        connection = sqlite3.connect(
            _address_of(path),
            timeout=WAIT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        try:
            if first_of(connection, "PRAGMA application_id") != APPLICATION:
                raise _no_onelook_gallery(path)
            found = first_of(connection, "PRAGMA user_version")
            if found != FORMAT:
                raise wrong_format(str(path), found)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            add_checksums(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _address_of(path: Path) -> str:
    """The file's URI; where nothing can be written, SQLite may take it as it lies."""
    address = path.absolute().as_uri()
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return address
    log = path.with_name(f"{path.name}-wal")
    is_whole = not log.is_file() or log.stat().st_size == 0
    return f"{address}?mode=ro" + ("&immutable=1" if is_whole else "")


def read_header(connection: sqlite3.Connection, path: Path) -> Header:
    """The model that the gallery was created for."""
    with errors_of(path):
        content = first_of(connection, "SELECT content FROM header")
    try:
        return Header(**json.loads(content))
    except (TypeError, ValueError) as error:
        raise _damaged(path, "its header cannot be read") from error


def _no_onelook_gallery(path: Path) -> GalleryError:
    return GalleryError(f"{path} is not an onelook gallery; name or move the file")


def first_of(connection: sqlite3.Connection, statement: str) -> Any:
    """The first column of the first row of an answer; None if there is no row."""
    row = connection.execute(statement).fetchone()
    return None if row is None else row[0]


@contextmanager
def transaction(connection: sqlite3.Connection, mode: str = "") -> Iterator[None]:
    """Inside, all statements see one state of the file; mode "IMMEDIATE" is for writing."""
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ones that name the file and the next step."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        if "closed" not in str(error):
            raise
        raise GalleryError(f"the gallery {path} was closed; open it again") from error
    except sqlite3.OperationalError as error:
        raise _operational(path, str(error)) from error
    except sqlite3.DataError as error:
        raise GalleryError(
            f"{path}: an image or its metadata is too large for SQLite ({error}); "
            "enroll a smaller file"
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise _no_onelook_gallery(path) from error
        raise _damaged(path, str(error)) from error


def _operational(path: Path, text: str) -> GalleryError:
    if "no such table" in text or "no such column" in text:
        return _damaged(path, text)
    advice = f"{text}; check the disk and the file's permissions, and try again"
    if "locked" in text or "busy" in text:
        advice = (
            f"another process kept the gallery busy for more than {WAIT_SECONDS:g} s; try "
            "again, or end that process"
        )
    elif "readonly" in text or "unable to open" in text:
        advice = f"{text}; a gallery needs write access to its file and its folder"
    elif "full" in text:
        advice = "no space left on the disk; free some and try again"
    return GalleryError(f"{path}: {advice}")


def _damaged(path: Path, what: str) -> GalleryError:
    return GalleryError(
        f"{path} is damaged ({what}); restore a backup, or save what can be read: "
        f"sqlite3 '{path}' .recover"
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can do that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
