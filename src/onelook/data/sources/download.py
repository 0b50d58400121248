"""Official archives: resumed where they stopped, verified, and never half in place."""

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
from onelook.files import cache_folder
from onelook.progress import progress_bar

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Archive:
    """One official file: its name, where it is served, and its published checksum.

    The second address of a file is a mirror that serves the same bytes.
    """

    name: str
    urls: tuple[str, ...]
    md5: str | None = None
    sha256: str | None = None


_OMNIGLOT = "https://github.com/brendenlake/omniglot/raw/master/python"
_LFW = "http://vis-www.cs.umass.edu/lfw"
# scikit-learn fetches the same files from here; its sha256 agree with the md5 below.
_FIGSHARE = "https://ndownloader.figshare.com/files"
_SICK = "http://alt.qcri.org/semeval2014/task1/data/uploads"
_ATT = "https://www.cl.cam.ac.uk/research/dtg/attarchive/pub/data"

_LFW_LISTS = (
    Archive(
        "pairs.txt",
        (f"{_LFW}/pairs.txt", f"{_FIGSHARE}/5976006"),
        md5="9f1ba174e4e1c508ff7cdf10ac338a7d",
    ),
    Archive(
        "pairsDevTrain.txt",
        (f"{_LFW}/pairsDevTrain.txt", f"{_FIGSHARE}/5976012"),
        md5="4f27cbf15b2da4a85c1907eb4181ad21",
    ),
    Archive(
        "pairsDevTest.txt",
        (f"{_LFW}/pairsDevTest.txt", f"{_FIGSHARE}/5976009"),
        md5="5132f7440eb68cf58910c8a45a2ac10b",
    ),
    Archive("people.txt", (f"{_LFW}/people.txt",), md5="450f0863dd89e85e73936a6d71a3474b"),
    Archive(
        "peopleDevTrain.txt",
        (f"{_LFW}/peopleDevTrain.txt",),
        md5="54eaac34beb6d042ed3a7d883e247a21",
    ),
    Archive(
        "peopleDevTest.txt",
        (f"{_LFW}/peopleDevTest.txt",),
        md5="e4bf5be0a43b5dcd9dc5ccfcb8fb19c5",
    ),
)

OFFICIAL_ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "omniglot": (
        Archive(
            "images_background.zip",
            (f"{_OMNIGLOT}/images_background.zip",),
            md5="68d2efa1b9178cc56df9314c21c6e718",
        ),
        Archive(
            "images_evaluation.zip",
            (f"{_OMNIGLOT}/images_evaluation.zip",),
            md5="6b91aef0f799c5bb55b94e3f2daec811",
        ),
        Archive(
            "all_runs.zip",
            (f"{_OMNIGLOT}/one-shot-classification/all_runs.zip",),
            md5="e8996daecdf12afeeb4a53a179f06b19",
        ),
        # No checksum of the next two is published: they get zip's own test (CRC-32).
        Archive(
            "strokes_background_small1.zip", (f"{_OMNIGLOT}/strokes_background_small1.zip",)
        ),
        Archive(
            "strokes_background_small2.zip", (f"{_OMNIGLOT}/strokes_background_small2.zip",)
        ),
    ),
    "lfw": (
        Archive(
            "lfw-deepfunneled.tgz",
            (f"{_LFW}/lfw-deepfunneled.tgz",),
            md5="68331da3eb755a505a502b5aacb3c201",
        ),
        *_LFW_LISTS,
    ),
    "lfw-funneled": (
        Archive(
            "lfw-funneled.tgz",
            (f"{_LFW}/lfw-funneled.tgz", f"{_FIGSHARE}/5976015"),
            md5="1b42dfed7d15c9b2dd63d5e5840c86ad",
        ),
        *_LFW_LISTS,
    ),
    "lfw-plain": (
        Archive(
            "lfw.tgz",
            (f"{_LFW}/lfw.tgz", f"{_FIGSHARE}/5976018"),
            md5="a17d05bd522c52d84eca14327a23d494",
        ),
        *_LFW_LISTS,
    ),
    # Neither of these two has a published checksum: zip's own test again.
    "att_faces": (Archive("att_faces.zip", (f"{_ATT}/att_faces.zip",)),),
    "sick": tuple(
        Archive(name, (f"{_SICK}/{name}",))
        for name in ("sick_train.zip", "sick_trial.zip", "sick_test_annotated.zip")
    ),
}


class NetworkError(DataError):
    """The address did not answer, refused, or stopped half-way."""


def download_source(name: str, folder: Path | None = None) -> Path:
    """Fetch the official archives of a source into one folder and return that folder.

    Files that are there already are verified and not fetched again.

    Args:
        name: A key of ``OFFICIAL_ARCHIVES``, such as ``"omniglot"``.
        folder: Where to put the files; the cache's folder of that name by default, where
            ``find_data`` looks.

    Raises:
        ValueError: If the source is unknown.
        DataError: If no address answers, or a file is not what was published.
    """
    name = {"att": "att_faces"}.get(name, name)
    if name not in OFFICIAL_ARCHIVES:
        known = ", ".join(sorted(OFFICIAL_ARCHIVES))
        raise ValueError(f"unknown source {name!r}; known: {known}")
    if folder is None:  # the alignments of LFW share the folder where they are looked for
        folder = cache_folder() / name.partition("-")[0]
    for archive in OFFICIAL_ARCHIVES[name]:
        _download_archive(archive, folder)
    return folder


def _download_archive(archive: Archive, folder: Path) -> None:
    for i, url in enumerate(archive.urls):
        try:
            download(url, folder / archive.name, md5=archive.md5, sha256=archive.sha256)
            return
        except NetworkError:
            if i + 1 == len(archive.urls):
                raise


def download(
    url: str,
    to: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    progress: bool = True,
) -> Path:
    """Fetch ``url`` into the file ``to`` and return it.

    What has arrived is kept in ``to`` + ``.part``; a second call goes on from there. ``to``
    itself appears only when it is whole and verified: by the checksum, or, where none is
    published, by the zip test for a ``.zip``.

    Args:
        url: http or https address.
        to: The file to write; one that is there already is verified and kept.
        md5: 32 hexadecimal digits, or ``None``.
        sha256: 64 hexadecimal digits, or ``None``.
        size: Bytes that the whole file must have, or ``None`` when unknown.
        progress: Report progress on standard error.

    Raises:
        NetworkError: If the address does not answer or stops half-way.
        DataError: If the file is not what was expected, or another process is fetching it.
    """
    if to.exists():
        _verify(to, to.name, url, md5, sha256, size, "move it away to fetch it again")
        return to
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        _download_part(url, to, md5, sha256, size, progress)
    except OSError as error:
        raise DataError(f"cannot write {to}: {error.strerror or error}") from error
    return to


def _download_part(
    url: str,
    to: Path,
    md5: str | None,
    sha256: str | None,
    size: int | None,
    progress: bool,
) -> None:
    part = to.with_name(to.name + ".part")
    with part.open("ab") as file:
        _lock(file, to)
        if to.exists():  # another process has finished between the two looks
            return
        _fetch(url, file, to, progress)
        file.flush()
        os.fsync(file.fileno())
        try:
            _verify(part, to.name, url, md5, sha256, size, "run again to fetch it anew")
        except DataError:
            part.unlink()
            raise
        os.replace(part, to)


def _lock(file: BinaryIO, to: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: the checksum still catches mixed bytes
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DataError(
            f"another process is fetching {to}; wait until it is done and run again"
        ) from error


def _fetch(url: str, file: BinaryIO, to: Path, progress: bool) -> None:
    done = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "onelook"}
    if done:
        headers["Range"] = f"bytes={done}-"
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
        if response.status != 206 or _range_start(response) != done:
            file.truncate(0)
            done = 0
        rest = response.headers.get("Content-Length")
        total = done + int(rest) if rest else None
        with progress_bar(
            to.name, total, shown=progress, done=done, unit="bytes"
        ) as advance:
            while True:
                with _network(url, to):
                    chunk = response.read(CHUNK_BYTES)
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                advance(len(chunk))
    if total is not None and done < total:
        raise NetworkError(
            f"{url} stopped after {done:,} of {total:,} bytes; "
            "run again to go on from there"
        )


def _range_start(response: http.client.HTTPResponse) -> int:
    """First byte of a partial answer, -1 where it does not say."""
    value = response.headers.get("Content-Range", "")
    start = value.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else -1


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


def _verify(
    path: Path,
    name: str,
    url: str,
    md5: str | None,
    sha256: str | None,
    size: int | None,
    advice: str,
) -> None:
    """Raise DataError unless the file has the size and checksum that were published."""
    got = path.stat().st_size
    if size is not None and got != size:
        raise DataError(f"{name} from {url} has {got:,} bytes, not {size:,}; {advice}")
    for kind, expected in (("md5", md5), ("sha256", sha256)):
        if expected is None:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected:
            raise DataError(
                f"{name} from {url} has {kind} {found}, not {expected}; {advice}"
            )
    if md5 is None and sha256 is None and name.lower().endswith(".zip"):
        bad = _bad_member(path)
        if bad:
            raise DataError(f"{name} from {url} is not a whole zip file ({bad}); {advice}")


def _bad_member(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        return str(error)
    return "" if member is None else f"{member} is damaged"
