"""Files written whole or not at all, and the folder for what can be made again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from onelook.errors import DataError

PRIVATE = 0o600  # the mode of files that hold people: their names, faces or embeddings


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of ``path`` once it is written whole.

    Until then an older file stays; after an error nothing is left behind. Missing folders
    are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)  # of a process that was killed: it has its own mode
        with open(fresh, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        if error.errno and not error.filename:  # a full disk names no file
            error.filename = str(path)
        raise
    finally:
        fresh.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, mode: int = 0o666) -> Path:
    """Write bytes, or a text as UTF-8, in one step; returns ``path``."""
    with whole_file(path, mode) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
    return path


@contextmanager
def locked(folder: Path, busy: str = "") -> Iterator[None]:
    """Hold a folder, which leaves nothing in it; the system lets go when a process ends.

    The folder is made where it does not exist, and removed again if it stays empty.
    ``busy`` is the error where another one holds it; without it this waits.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: files are still whole, the last writer wins
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise DataError(busy) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        os.close(number)


def check_writable(path: Path) -> None:
    """Refuse a file or folder that could not be made, before the work for it.

    Raises:
        DataError: If the folder that it belongs into is none, or cannot be written into.
    """
    above = next(one for one in path.absolute().parents if one.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise DataError(f"{path} cannot be written: {above} is no folder to write into")


def check_regular(path: Path) -> None:
    """Refuse a pipe or a device, which would be waited for, or read, for ever."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: is a pipe or a device, not a file")


def expanded(path: str | Path) -> Path:
    """The path with ``~`` as the user's folder; as it is where there is no such folder."""
    return Path(os.path.expanduser(path))


def unwritable_cache(folder: Path, error: OSError) -> DataError:
    """The error for a cache that cannot be written."""
    return DataError(
        f"cannot write to {folder}: {error.strerror or error}; make room there, or set "
        "ONELOOK_CACHE to another folder"
    )


def cache_folder() -> Path:
    """The folder for what can be made or fetched again.

    ``$ONELOOK_CACHE``, or ``~/.cache/onelook``.
    """
    folder = expanded(os.environ.get("ONELOOK_CACHE") or "~/.cache/onelook")
    if folder.parts[0] == "~":
        raise DataError(
            "there is no home folder to keep prepared files in; set ONELOOK_CACHE to a "
            "folder that can be written"
        )
    return folder
