"""Files written whole or not at all, and the folder for what can be made again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO


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


def cache_folder() -> Path:
    """The folder for what can be made or fetched again.

    ``$ONELOOK_CACHE``, or ``~/.cache/onelook``.
    """
    return Path(os.environ.get("ONELOOK_CACHE") or "~/.cache/onelook").expanduser()
