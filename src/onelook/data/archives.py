"""One face for a folder and an archive: which files are inside, by name."""

import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onelook.data.items import ARCHIVE_SEPARATOR
from onelook.data.reading import open_archive, split_address
from onelook.errors import DataError
from onelook.files import cache_folder

_TAR_SUFFIXES = (".tgz", ".tar.gz", ".tar")


@dataclass(frozen=True)
class Tree:
    """The files under a folder or inside an archive.

    Args:
        base: What stands before a name in an address; ends in ``/``.
        names: Names relative to ``base``, with ``/`` between folders, sorted. Hidden files
            and what macOS adds to archives are left out.
    """

    base: str
    names: tuple[str, ...]

    def address(self, name: str) -> str:
        """The address of one file: ``FOLDER/NAME`` or ``ARCHIVE.zip!/NAME``."""
        return self.base + name


def open_tree(path: str | Path) -> Tree:
    """The files of a folder, of a zip (``x.zip``, ``x.zip!/FOLDER``) or of a tar archive.

    A tar archive is unpacked into the cache the first time, because it cannot be read in
    place.

    Raises:
        DataError: If there is nothing, or something that is neither folder nor archive.
    """
    text = os.path.expanduser(path)
    archive, folder = split_address(text)
    if archive:
        return _zip_tree(archive, folder.rstrip("/"))
    if text.lower().endswith(".zip") and os.path.isfile(text):
        return _zip_tree(text, "")
    if text.lower().endswith(_TAR_SUFFIXES) and os.path.isfile(text):
        return _folder_tree(str(_unpack(Path(text))))
    if os.path.isdir(text):
        return _folder_tree(text)
    if os.path.exists(text):
        raise DataError(f"{text} is neither a folder nor a .zip, .tgz or .tar archive")
    raise DataError(f"{text} does not exist; give a folder or an archive")


def address_exists(address: str) -> bool:
    """Whether a file, or a member of a zip, is there; its content is not looked at."""
    archive, member = split_address(address)
    if not archive:
        return os.path.isfile(address)
    return os.path.isfile(archive) and member in open_archive(archive).NameToInfo


def addresses_of(paths: Sequence[str | Path], suffixes: Collection[str]) -> list[str]:
    """All files that paths, folders and archives stand for; the paths without suffixes.

    Raises:
        DataError: If a folder or archive holds no file with one of the suffixes.
    """
    if not suffixes:
        return [str(path) for path in paths]
    found: list[str] = []
    for path in map(os.path.expanduser, map(str, paths)):
        if not holds_files(path):
            found.append(path)
            continue
        tree = open_tree(path)
        inside = [n for n in tree.names if PurePosixPath(n).suffix.lower() in suffixes]
        if not inside:
            raise DataError(
                f"{path} holds no files that end in {', '.join(sorted(suffixes))}"
            )
        found += [tree.address(name) for name in inside]
    return found


def holds_files(path: str | Path) -> bool:
    """Whether the path is a folder or an archive, not one file."""
    text = os.path.expanduser(path)
    if split_address(text)[0]:
        return not address_exists(text)  # a folder in an archive is no member of it
    return os.path.isdir(text) or text.lower().endswith((".zip", *_TAR_SUFFIXES))


def _zip_tree(archive: str, folder: str) -> Tree:
    prefix = folder + "/" if folder else ""
    names = [n for n in open_archive(archive).namelist() if not n.endswith("/")]
    inside = [n.removeprefix(prefix) for n in set(names) if n.startswith(prefix)]
    if folder and not inside:
        raise DataError(f"{archive} has no folder {folder!r}")
    return Tree(archive + ARCHIVE_SEPARATOR + prefix, _visible(inside))


def _folder_tree(folder: str) -> Tree:
    names: list[str] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        # A link to a folder above would otherwise be followed for ever.
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [f for f in folders if not _hidden(f)]
        inside = os.path.relpath(here, folder).replace(os.sep, "/")
        names += [f if inside == "." else f"{inside}/{f}" for f in files]
    return Tree(folder.rstrip("/") + "/", _visible(names))


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _visible(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(n for n in names if not any(map(_hidden, n.split("/")))))


def _unpack(archive: Path) -> Path:
    """Unpack a tar archive into the cache, once; a killed try leaves nothing in place."""
    stat = archive.stat()
    identity = f"{archive.resolve()}\t{stat.st_size}\t{stat.st_mtime_ns}"
    key = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:12]
    target = cache_folder() / "unpacked" / f"{archive.name.partition('.')[0]}-{key}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as work:
        fresh = Path(work) / "files"
        try:
            with tarfile.open(archive) as file:
                file.extractall(fresh, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise DataError(
                f"cannot unpack {archive} into {target.parent}: {error}; "
                "is the archive whole, and is there room on the disk?"
            ) from error
        try:
            os.rename(fresh, target)
        except OSError:
            if not target.is_dir():  # else another process was first, with the same files
                raise
    return target


def locate(root: str | Path, places: Iterable[str], names: Iterable[str]) -> Path | None:
    """The first of ``names`` that exists in one of the ``places`` below ``root``."""
    base, wanted = Path(root).expanduser(), list(names)
    if base.name in wanted and base.exists():
        return base
    for place in places:
        for name in wanted:
            if (base / place / name).exists():
                return base / place / name
    return None
