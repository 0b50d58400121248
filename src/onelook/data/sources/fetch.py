"""Official archives: resumed where they stopped, verified, and never half in place.

pooch (1.9) begins a broken download again from its first byte, so this module is ours.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onelook.errors import DataError
from onelook.files import locked
from onelook.progress import progress_bar

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
Checksum = tuple[str, str]  # its kind, and the digits


@dataclass(frozen=True)
class Archive:
    """One official file: where it is served (its home, then mirrors), and its checksum."""

    name: str
    urls: tuple[str, ...]
    md5: str | None = None


class NetworkError(DataError):
    """The address did not answer, refused, or stopped half-way."""


def fetch_archive(archive: Archive, folder: Path) -> None:
    """Fetch one file from the first of its addresses that answers; see ``fetch``."""
    for i, url in enumerate(archive.urls):
        try:
            fetch(url, folder / archive.name, md5=archive.md5)
            return
        except NetworkError:
            if i + 1 == len(archive.urls):
                raise


def fetch(url: str, to: Path, md5: str | None = None, *, sha512: str | None = None) -> Path:
    """Fetch ``url`` into the file ``to`` and return it.

    What has arrived is kept in ``to`` + ``.part``; a second call goes on from there. ``to``
    itself appears only when it is whole and verified: by the checksum, or, where none is
    published, by the zip test for a ``.zip``.
    """
    checksum = ("sha512", sha512) if sha512 else ("md5", md5) if md5 else None
    part = to.with_name(to.name + ".part")
    busy = (
        f"another process is fetching {to}, or a file beside it; wait until it is done and "
        "run again"
    )
    try:
        if not to.exists():
            with locked(to.parent, busy):
                if not to.exists():  # another process may have finished between two looks
                    with part.open("ab") as file:
                        _fetch(url, file, to)
                    _move_if_sound(part, to, url, checksum)
                    return to
    except OSError as error:
        raise DataError(f"cannot write {to}: {error.strerror or error}") from error
    wrong = _find_fault(to, checksum)
    if wrong:
        raise DataError(f"{to.name} from {url} {wrong}; move {to} away to fetch it again")
    return to


def _move_if_sound(part: Path, to: Path, url: str, checksum: Checksum | None) -> None:
    wrong = _find_fault(part, checksum, to.name)
    if wrong:
        part.unlink()
        raise DataError(f"{to.name} from {url} {wrong}; run again to fetch it again")
    os.replace(part, to)


def _fetch(url: str, file: BinaryIO, to: Path) -> None:
    """Append what is missing of ``url`` to ``file``."""
    done = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "onelook"} | ({"Range": f"bytes={done}-"} if done else {})
    with _network(url, to):
        request = urllib.request.Request(url, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not done:
                raise
            error.close()
            # Nothing lies behind what is here: whole already, or longer than the server's.
            return
    with response:
        start = response.headers.get("Content-Range", "").partition("-")[0]
        if response.status != 206 or start != f"bytes {done}":
            file.truncate(0)
            done = 0
        rest = response.headers.get("Content-Length")
        total = done + int(rest) if rest else None
        with progress_bar(to.name, total, done=done, unit="bytes") as advance:
            while True:
                with _network(url, to):
                    chunk = response.read(CHUNK_BYTES)
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                advance(len(chunk))
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done < total:
        raise NetworkError(
            f"{url} stopped after {done:,} of {total:,} bytes; "
            "run again to go on from there"
        )


@contextmanager
def _network(url: str, to: Path) -> Iterator[None]:
    """Turn whatever a network can do wrong into one line that says what to do."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise NetworkError(
            f"cannot fetch {url} ({reason}); get it by other means and put it into "
            f"{to.parent} as {to.name}, or run again when the network is there"
        ) from error


def _find_fault(path: Path, checksum: Checksum | None, name: str = "") -> str:
    """What is wrong with a file, by its checksum or by zip's own test; "" if nothing is."""
    if checksum is not None:
        kind, wanted = checksum
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        return "" if found == wanted else f"has {kind} {found}, not {wanted}"
    if not (name or path.name).lower().endswith(".zip"):
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        return f"is not a whole zip file ({error})"
    return f"is not a whole zip file ({member} is damaged)" if member else ""
