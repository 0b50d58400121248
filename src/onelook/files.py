"""Files written whole or not at all, and the folder for what can be made again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from onelook.errors import DataError


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
    finally:
        fresh.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, mode: int = 0o666) -> Path:
    """Write bytes, or a text as UTF-8, in one step; returns ``path``."""
    with whole_file(path, mode) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
    return path


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

    Raises:
        DataError: If there is neither: a container's user may have no home.
    """
    folder = expanded(os.environ.get("ONELOOK_CACHE") or "~/.cache/onelook")
    if folder.parts[0] == "~":
        raise DataError(
            "there is no home folder to keep prepared files in; set ONELOOK_CACHE to a "
            "folder that can be written"
        )
    return folder
