"""One face for a folder and an archive: which files are inside, by name."""

import hashlib
import logging
import os
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from onelook.data.items import ARCHIVE_SEPARATOR
from onelook.data.reading import open_archive, split_address
from onelook.errors import DataError, one_line
from onelook.files import cache_folder, expanded, unwritable_cache
from onelook.tables import counted

logger = logging.getLogger(__name__)

_TAR_SUFFIXES = (".tgz", ".tar.gz", ".tar")
ARCHIVE_SUFFIXES = (".zip", *_TAR_SUFFIXES)
# What systems put beside the user's files, in lower case; and all that begins with a dot.
_OF_SYSTEMS = frozenset(
    "__macosx thumbs.db ehthumbs.db desktop.ini @eadir #recycle $recycle.bin icon\r".split(
        " "
    )
)


@dataclass(frozen=True)
class Tree:
    """The files under a folder or inside an archive.

    ``names``, with ``/`` between folders and sorted, are relative to ``base``, which ends
    in ``/``. Hidden files and what systems add (``__MACOSX``, ``Thumbs.db``) are left out.
    """

    base: str
    names: tuple[str, ...]
    whole_archive: bool = False

    def address(self, name: str) -> str:
        """The address of one file: ``FOLDER/NAME`` or ``ARCHIVE.zip!/NAME``."""
        return self.base + name

    def unwrapped(self) -> "Tree":
        """Of a zipped or packed folder: what is in that folder, as where it is not packed.

        An archive that holds one folder of files keeps that folder: it is a class.
        """
        top = self.names[0].partition("/")[0] + "/" if self.names else ""
        inside = tuple(n.removeprefix(top) for n in self.names if n.startswith(top))
        is_lone = self.whole_archive and len(inside) == len(self.names)
        if not is_lone or not any("/" in name for name in inside):
            return self
        return replace(self, base=self.base + top, names=inside, whole_archive=False)

    def files(self, suffixes: Collection[str], place: str | Path) -> list[str]:
        """Names that end in one of the suffixes, in lower case; warns of the others."""
        ends = {name: PurePosixPath(name).suffix.lower() for name in self.names}
        found = [name for name in self.names if ends[name] in suffixes]
        others = Counter(x or "no suffix" for x in ends.values() if x not in suffixes)
        if found and others:
            kinds = ", ".join(f"{suffix}: {n}" for suffix, n in others.most_common(5))
            one, many = "file of another kind is", "files of other kinds are"
            if ".png" in suffixes:
                one, many = "file that is not an image is", "files that are not images are"
            left_out = counted(others.total(), one, many)
            logger.warning(f"{place}: {left_out} left out ({kinds}){_empty(self, found)}")
        return found


def _empty(tree: Tree, found: Iterable[str]) -> str:
    """Which folders have files, but none of those that were found."""
    full = {str(above) for name in found for above in PurePosixPath(name).parents}
    empty = sorted({name.rpartition("/")[0] for name in tree.names} - full - {""})
    more = f" and {len(empty) - 10:,} more" if len(empty) > 10 else ""
    return f"; nothing is read from {', '.join(empty[:10])}{more}" if empty else ""


def open_tree(path: str | Path) -> Tree:
    """The files of a folder, of a zip (``x.zip``, ``x.zip!/FOLDER``) or of a tar archive.

    A tar archive cannot be read in place: it is unpacked into the cache the first time.
    """
    text = os.path.expanduser(path)
    archive, folder = split_address(text)
    if archive:
        return _zip_tree(archive, folder.rstrip("/"))
    if text.lower().endswith(".zip") and os.path.isfile(text):
        return _zip_tree(text, "")
    if text.lower().endswith(_TAR_SUFFIXES) and os.path.isfile(text):
        return replace(_folder_tree(str(_unpack(Path(text)))), whole_archive=True)
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
    """All files that paths, folders and archives stand for; the paths without suffixes."""
    if not suffixes:
        return [str(path) for path in paths]
    found: list[str] = []
    for path in map(os.path.expanduser, map(str, paths)):
        if not holds_files(path):
            found.append(path)
            continue
        tree = open_tree(path)
        inside = tree.files(suffixes, path)
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
    return os.path.isdir(text) or text.lower().endswith(ARCHIVE_SUFFIXES)


def _zip_tree(archive: str, folder: str) -> Tree:
    prefix = folder + "/" if folder else ""
    names = [n for n in open_archive(archive).namelist() if not n.endswith("/")]
    inside = [n.removeprefix(prefix) for n in set(names) if n.startswith(prefix)]
    if folder and not inside:
        raise DataError(f"{archive} has no folder {folder!r}")
    base = archive + ARCHIVE_SEPARATOR + prefix
    return Tree(base, _visible(inside), whole_archive=not folder)


def _folder_tree(folder: str) -> Tree:
    names: list[str] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        # A link to a folder above would otherwise be followed for ever.
        real = os.path.realpath(here)
        if real in seen:
            logger.warning(f"{here} is a link to a folder that is read already: left out")
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
    return part.startswith(".") or part.lower() in _OF_SYSTEMS


def is_visible(name: str) -> bool:
    """Whether neither a file nor a folder above it is hidden or a system's own."""
    return not any(map(_hidden, name.removeprefix("./").split("/")))


def _visible(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(filter(is_visible, names)))


def _unpack(archive: Path) -> Path:
    """Unpack a tar archive into the cache, once; a killed try leaves nothing in place."""
    stat = archive.stat()
    identity = f"{archive.resolve()}\t{stat.st_size}\t{stat.st_mtime_ns}"
    key = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:12]
    target = cache_folder() / "unpacked" / f"{archive.name.partition('.')[0]}-{key}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _unpack_into(target, archive)
    except OSError as error:
        raise unwritable_cache(target.parent, error) from error


def _unpack_into(target: Path, archive: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as work:
        fresh = Path(work) / "files"
        try:
            with tarfile.open(archive) as file:
                file.extractall(fresh, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise DataError(
                f"cannot unpack {archive} into {target.parent}: {one_line(error)}; "
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
    base, wanted = expanded(root), list(names)
    if base.name in wanted and base.exists():
        return base
    for place in places:
        for name in wanted:
            if (base / place / name).exists():
                return base / place / name
    return None
