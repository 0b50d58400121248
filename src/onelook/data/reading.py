"""Read the bytes behind an address: a file, or a member of a zip archive."""

import os
import stat
import threading
import zipfile
from collections.abc import Sequence

from onelook.data.items import ARCHIVE_SEPARATOR
from onelook.errors import DataError, one_line

MAX_BYTES = 1 << 30
LISTED = 10  # unreadable items; the others are counted
FEW = 4  # so few were probably named one by one, and none can be left out

# Open archives, by process and path: a forked process must not share a file handle.
_archives: dict[tuple[int, str], tuple[tuple[int, int], zipfile.ZipFile]] = {}
_archives_lock = threading.Lock()


def split_address(address: str) -> tuple[str, str]:
    """Archive and member of an address; the archive is empty for a plain file.

    >>> split_address("faces.zip!/s1/1.pgm")
    ('faces.zip', 's1/1.pgm')
    >>> split_address("wow!/s1/1.pgm")
    ('', 'wow!/s1/1.pgm')
    """
    end = address.lower().find(".zip" + ARCHIVE_SEPARATOR)
    if end < 0:
        return "", address
    return address[: end + 4], address[end + 4 + len(ARCHIVE_SEPARATOR) :]


def address_parts(address: str) -> list[str]:
    """The folders and the file's name of an address, in an archive or not."""
    return address.replace(ARCHIVE_SEPARATOR, "/").replace("\\", "/").split("/")


def open_archive(path: str) -> zipfile.ZipFile:
    """The zip archive, opened once in this process and again when the file has changed."""
    try:
        status = os.stat(path)
        changed = (status.st_mtime_ns, status.st_size)
        with _archives_lock:
            known = _archives.get((os.getpid(), path))
            if known is None or known[0] != changed:
                known = (changed, _with_slashes(zipfile.ZipFile(path)))
                _archives[os.getpid(), path] = known
            return known[1]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such archive") from error
    # zipfile raises many kinds on damaged bytes.
    except Exception as error:
        why = one_line(error)
        raise DataError(
            f"{path}: not a readable zip archive ({why}); fetch or make it again"
        ) from error


def _with_slashes(archive: zipfile.ZipFile) -> zipfile.ZipFile:
    """The archive with ``/`` between folders, where a program wrote backslashes."""
    for info in archive.filelist:
        if "\\" in info.filename:
            info.filename = info.filename.replace("\\", "/")
            archive.NameToInfo.setdefault(info.filename, info)
    return archive


def read_bytes(address: str) -> bytes:
    """The bytes of a file, or of a member of a zip archive; for any thread."""
    archive, member = split_address(address)
    if archive:
        return _read_member(address, archive, member)
    try:
        status = os.stat(address)
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise DataError(f"{address}: is {what}, not a file")
        _check_bytes(address, status.st_size)
        with open(address, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        broken = os.path.islink(address)
        reason = "a broken link" if broken else "no such file"
        raise DataError(f"{address}: {reason}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{address}: {getattr(error, 'strerror', '') or error}") from error


def _read_member(address: str, archive: str, member: str) -> bytes:
    handle = open_archive(archive)
    try:
        info = handle.getinfo(member)
        if info.is_dir():
            raise DataError(f"{address}: is a folder, not a file")
        _check_bytes(address, info.file_size)
        return handle.read(info)
    except KeyError as error:
        raise DataError(f"{address}: no such file in the archive") from error
    except DataError:
        raise
    # zipfile raises many kinds on damaged bytes, passwords and unknown compressions.
    except Exception as error:
        raise DataError(f"{address}: damaged in its archive ({one_line(error)})") from error


def _check_bytes(address: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{address}: {size:,} bytes, more than the limit of {MAX_BYTES:,}")


def is_utf8(name: str) -> bool:
    """Whether a file name, as Python shows it, was UTF-8."""
    return name.isascii() or not any("\ud800" <= one <= "\udfff" for one in name)


def escaped(name: str) -> str:
    """A name that every file and page can hold: bytes that are not UTF-8 as ``\\udce9``."""
    return name.encode("utf-8", "backslashreplace").decode()


def refuse_bad(
    bad: Sequence[tuple[str, str]],
    n_all: int,
    what: str = "images",
    *,
    skippable: bool = False,
) -> None:
    """Raise a DataError that lists unusable items, (name, reason), if there are any.

    Where the caller is ``skippable``, ``skip_bad`` is advised.
    """
    if not bad:
        return
    if len(bad) == 1 and n_all <= FEW:
        raise DataError(": ".join(bad[0]))
    lines = [f"  {address}: {reason}" for address, reason in bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"  ... and {len(bad) - LISTED:,} more")
    lines.append("repair or remove them")
    if skippable and n_all > FEW:
        lines[-1] += "; --skip-bad (in Python skip_bad=True) goes on without them"
    raise DataError(f"{len(bad):,} of {n_all:,} {what} cannot be used:", *lines)
