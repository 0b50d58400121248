"""Stores: every item loaded once. Pixels are kept on disk, sequences in memory."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs.sequences import Sequences
from onelook.data.reading import open_archive, refuse_bad, split_address
from onelook.errors import DataError
from onelook.files import cache_folder, unwritable_cache, write_whole
from onelook.progress import progress_bar

logger = logging.getLogger(__name__)

STORE_FORMAT = 1
RESIDENT_BYTES = 2 << 30
CHUNK = 32  # images loaded at a time
# A preparation writes all the time; one that has not for this long was killed.
ABANDONED_SECONDS = 3600.0


class Chunk(NamedTuple):
    """Pixels (n, C, H, W) uint8 of the readable images in their order, and the others."""

    pixels: NDArray[np.uint8]
    bad: list[tuple[str, str]]


class PixelSource(Protocol):
    """What a PixelStore asks of an input."""

    @property
    def input_shape(self) -> tuple[int, int, int]: ...
    def load_chunks(self, items: Sequence[str], workers: int | None) -> Iterator[Chunk]: ...
    def to_dict(self) -> dict[str, Any]: ...


class Store(ABC):
    """Loaded items, one row for each distinct address; ``bad`` ones have no row."""

    pixels: NDArray[np.uint8] | None = None  # all rows (N, C, H, W), where they are pixels

    def __init__(self, addresses: Sequence[str], bad: Sequence[tuple[str, str]]) -> None:
        self.addresses = tuple(addresses)
        self.bad = list(bad)
        self._row_of = {address: row for row, address in enumerate(self.addresses)}

    def __len__(self) -> int:
        return len(self.addresses)

    def rows(self, addresses: Sequence[str]) -> NDArray[np.int64]:
        """The row (N,) of each address."""
        try:
            found = (self._row_of[address] for address in addresses)
            return np.fromiter(found, np.int64, len(addresses))
        except KeyError as error:
            address = error.args[0]
            reason = dict(self.bad).get(address, "not among the prepared items")
            raise DataError(f"{address}: {reason}") from None

    @abstractmethod
    def gather(self, rows: NDArray[np.int64] | Sequence[int]) -> Any:
        """What these rows hold, for ``Input.to_inputs``."""


class PixelStore(Store):
    """Preprocessed pixels (N, C, H, W) uint8, one row for each distinct address.

    Made by ``prepare``, which writes ``CACHE/pixels/KEY/`` with ``pixels.npy`` and
    ``index.json``. Up to ``resident_bytes`` (by default 2 GiB or a quarter of the free
    memory, whichever is less) it is held whole in memory, to be quick.
    """

    pixels: NDArray[np.uint8]

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        addresses: Sequence[str],
        bad: Sequence[tuple[str, str]] = (),
        resident_bytes: int | None = None,
    ) -> None:
        super().__init__(addresses, bad)
        self.pixels = np.asarray(pixels)  # a plain view of the memory map
        self.resident_bytes = resident_bytes
        self._is_resident: bool | None = None

    @classmethod
    def prepare(
        cls,
        addresses: Sequence[str],
        source: PixelSource,
        cache: Path | None = None,
        workers: int | None = None,
        skip_bad: bool = False,
        progress: bool = True,
    ) -> "PixelStore":
        """The store of all distinct addresses, decoded now or reopened from the cache.

        A killed preparation leaves no half store, and two at once do no harm. ``workers``
        are threads; None decides by how long an image takes.
        """
        distinct = sorted(set(addresses))
        root = Path(cache or cache_folder()) / "pixels"
        folder = root / _key(distinct, source)
        store = cls._open(folder)
        if store is None:
            try:
                _write(folder, distinct, source, workers, progress)
            except OSError as error:
                raise unwritable_cache(root, error) from error
            store = cls._open(folder)
        if store is None:
            raise DataError(f"{folder} was removed while it was in use; run again")
        if not skip_bad or not len(store):
            refuse_bad(store.bad, len(distinct), skippable=not skip_bad)
        return store

    @classmethod
    def _open(cls, folder: Path) -> "PixelStore | None":
        try:
            index = json.loads((folder / "index.json").read_text("utf-8"))
            pixels: NDArray[np.uint8] = np.empty((0, *index["shape"]), np.uint8)
            if index["n_rows"]:
                pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        except (OSError, EOFError, ValueError, KeyError):
            return None
        return cls(pixels, index["addresses"], [(a, why) for a, why in index["bad"]])

    def gather(self, rows: NDArray[np.int64] | Sequence[int]) -> NDArray[np.uint8]:
        """Pixels (B, C, H, W) uint8 of the given rows."""
        if self._is_resident is None:
            most = self.resident_bytes
            if most is None:
                most = min(RESIDENT_BYTES, _available_bytes() // 4)
            self._is_resident = self.pixels.nbytes <= most
            if self._is_resident:
                self.pixels = np.array(self.pixels)
        index = np.asarray(rows, np.int64)
        if self._is_resident:
            return self.pixels[index]
        # Ascending, so that a disk is read forwards.
        order, inverse = np.unique(index, return_inverse=True)
        return self.pixels[order][inverse]


class SequenceStore(Store):
    """Padded sequences of many items in memory, one row for each distinct address."""

    def __init__(
        self,
        sequences: Sequences,
        addresses: Sequence[str],
        bad: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(addresses, bad)
        # A vocabulary fits in 32 bits, and half the memory.
        self._type = sequences.values.dtype
        is_text = self._type == np.int64
        self._values = sequences.values.astype(np.int32) if is_text else sequences.values
        self._lengths = sequences.lengths

    def gather(self, rows: NDArray[np.int64] | Sequence[int]) -> Sequences:
        """Sequences of the given rows, padded to the longest of these."""
        index = np.asarray(rows, np.int64)
        lengths = self._lengths[index]
        values = self._values[index, : lengths.max(initial=0)]
        return Sequences(values.astype(self._type, copy=False), lengths)


def _key(distinct: Sequence[str], source: PixelSource) -> str:
    """24 hexadecimal digits that change with preprocessing, addresses and contents."""
    settings = json.dumps([STORE_FORMAT, source.to_dict()], sort_keys=True)
    digest = hashlib.sha256(settings.encode())
    if not all(os.path.isabs(address) for address in distinct):
        digest.update(os.getcwd().encode("utf-8", "surrogateescape"))
    for address in distinct:
        line = f"{address}\t{_identity(address)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:24]


def _identity(address: str) -> str:
    # Reading a million files again to reopen a store would take minutes.
    archive, member = split_address(address)
    try:
        if archive:
            info = open_archive(archive).getinfo(member)
            return f"{info.CRC} {info.file_size}"
        status = os.stat(address)
        return f"{status.st_size} {status.st_mtime_ns}"
    except (OSError, KeyError, ValueError, DataError):
        return "missing"


def _write(
    folder: Path,
    addresses: Sequence[str],
    source: PixelSource,
    workers: int | None,
    progress: bool,
) -> None:
    """Write a store beside its place, and move it there once it is whole."""
    started = time.monotonic()
    folder.parent.mkdir(0o700, parents=True, exist_ok=True)  # there may be faces in it
    _remove_abandoned(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        bad = _write_pixels(unfinished / "pixels.npy", addresses, source, workers, progress)
        refused = {address for address, _ in bad}
        kept = [address for address in addresses if address not in refused]
        index = {
            "format": STORE_FORMAT,
            "preprocess": source.to_dict(),
            "shape": source.input_shape,
            "n_rows": len(kept),
            "addresses": kept,
            "bad": bad,
        }
        write_whole(unfinished / "index.json", json.dumps(index))
        if PixelStore._open(folder) is None:  # else another process was quicker
            shutil.rmtree(folder, ignore_errors=True)  # what is there is damaged
            try:
                unfinished.rename(folder)
            except OSError:
                if PixelStore._open(folder) is None:
                    raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    seconds = time.monotonic() - started
    logger.info("prepared %d images in %.1f s: %s", len(kept), seconds, folder)


def _write_pixels(
    path: Path,
    addresses: Sequence[str],
    source: PixelSource,
    workers: int | None,
    progress: bool,
) -> list[tuple[str, str]]:
    """Write the array front to back and return what could not be read.

    Plain writes and no map: a full disk is then an error and not a killed process.
    """
    bad: list[tuple[str, str]] = []
    n_rows = 0
    with (
        open(path, "wb") as file,
        progress_bar("preparing images", len(addresses), shown=progress) as advance,
    ):
        _write_npy_header(file, (len(addresses), *source.input_shape))
        start = file.tell()
        for chunk in source.load_chunks(addresses, workers):
            file.write(chunk.pixels.data)
            n_rows += len(chunk.pixels)
            bad += chunk.bad
            advance(len(chunk.pixels) + len(chunk.bad))
        file.seek(0)
        _write_npy_header(file, (n_rows, *source.input_shape))
        # NumPy leaves room for the first number to change.
        assert file.tell() == start
        file.flush()
        os.fsync(file.fileno())
    return bad


def _write_npy_header(file: Any, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _remove_abandoned(root: Path) -> None:
    """Remove what killed preparations left behind."""
    for folder in root.glob(".unfinished*"):
        try:
            written = max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
        except FileNotFoundError:
            continue
        if time.time() - written > ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _available_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * RESIDENT_BYTES  # macOS and Windows do not say: the plain limit holds
