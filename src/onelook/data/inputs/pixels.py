"""PixelStore: every image decoded once, kept as memory-mapped uint8 (N, C, H, W)."""

import hashlib
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onelook.data.archives import split_address
from onelook.data.inputs.images import (
    Preprocess,
    open_archive,
    read_header,
    refuse_bad,
)
from onelook.data.inputs.rows import find_rows
from onelook.errors import DataError
from onelook.files import cache_folder
from onelook.progress import progress_bar

logger = logging.getLogger(__name__)

STORE_FORMAT = 1
RESIDENT_BYTES = 2 << 30
# A preparation of another machine that shares the cache cannot be asked whether it still
# runs.
ABANDONED_SECONDS = 2 * 24 * 3600


class PixelStore:
    """Preprocessed pixels of many images, one row for each distinct address.

    Made by ``prepare``, which writes ``CACHE/pixels/KEY/`` with ``pixels.npy`` and
    ``index.json``.

    Args:
        pixels: (N, C, H, W) uint8, usually memory-mapped.
        addresses: N addresses, one a row.
        bad: Address and reason of every image that could not be read; they have no row.
        resident_bytes: Up to this size the store is held whole in a device's memory, to be
            quick. ``None``: 2 GiB or a quarter of the memory that is free there, whichever
            is less.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        addresses: Sequence[str],
        bad: Sequence[tuple[str, str]] = (),
        resident_bytes: int | None = None,
    ) -> None:
        self.pixels = np.asarray(pixels)  # a plain view of the memory map
        self.addresses = tuple(addresses)
        self.bad = list(bad)
        self.resident_bytes = resident_bytes
        self._row_of = {address: row for row, address in enumerate(self.addresses)}
        self._resident: dict[torch.device, Tensor | None] = {}

    @classmethod
    def prepare(
        cls,
        addresses: Sequence[str],
        preprocess: Preprocess,
        cache: Path | None = None,
        workers: int | None = None,
        skip_bad: bool = False,
        progress: bool = True,
    ) -> "PixelStore":
        """The store of all distinct addresses, decoded now or reopened from the cache.

        A killed preparation leaves nothing that would be taken for a store, and two at once
        do no harm.

        Args:
            addresses: Files or members of archives; repeats are decoded once.
            preprocess: What each image becomes.
            cache: Where stores are kept; ``None``: the user's cache folder.
            workers: Threads; ``None`` decides by how long an image takes.
            skip_bad: Leave unreadable images out instead of refusing.
            progress: Report progress on standard error.

        Raises:
            DataError: If images cannot be read (all of them, or any without ``skip_bad``),
                or the cache cannot be written.
        """
        distinct = sorted(set(addresses))
        root = Path(cache or cache_folder()) / "pixels"
        folder = root / _key(distinct, preprocess)
        store = cls._open(folder)
        if store is None:
            try:
                cls._write(folder, distinct, preprocess, workers, progress)
            except OSError as error:
                raise DataError(
                    f"cannot write prepared images to {root}: {error.strerror or error}; "
                    "make room there, or set ONELOOK_CACHE to another folder"
                ) from error
            store = cls._open(folder)
        if store is None:
            raise DataError(f"{folder} was removed while it was in use; run again")
        if not skip_bad or not len(store):
            refuse_bad(store.bad, len(distinct))
        return store

    @classmethod
    def _open(cls, folder: Path) -> "PixelStore | None":
        try:
            index = json.loads((folder / "index.json").read_text("utf-8"))
            if index["n_rows"] == 0:
                shape = (0, *index["shape"])
                pixels: NDArray[np.uint8] = np.empty(shape, np.uint8)
            else:
                pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        except (OSError, EOFError, ValueError, KeyError):
            return None
        bad = [(address, reason) for address, reason in index["bad"]]
        return cls(pixels, index["addresses"], bad)

    @classmethod
    def _write(
        cls,
        folder: Path,
        addresses: Sequence[str],
        preprocess: Preprocess,
        workers: int | None,
        progress: bool,
    ) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        unfinished = folder.parent / _unfinished_name()
        unfinished.mkdir()
        try:
            started = time.monotonic()
            bad = _write_pixels(unfinished, addresses, preprocess, workers, progress)
            refused = {address for address, _ in bad}
            kept = [address for address in addresses if address not in refused]
            index = {
                "format": STORE_FORMAT,
                "preprocess": preprocess.to_dict(),
                "shape": preprocess.input_shape,
                "n_rows": len(kept),
                "addresses": kept,
                "bad": bad,
            }
            with open(unfinished / "index.json", "w", encoding="utf-8") as file:
                json.dump(index, file)
                _to_disk(file.fileno(), file.flush)
            _rename_store(unfinished, folder)
            seconds = time.monotonic() - started
            logger.info("prepared %d images in %.1f s: %s", len(kept), seconds, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def __len__(self) -> int:
        return len(self.addresses)

    def rows(self, addresses: Sequence[str]) -> NDArray[np.int64]:
        """The row (N,) of each address.

        Raises:
            DataError: If one is not in the store, or could not be read.
        """
        return find_rows(addresses, self._row_of, self.bad)

    def gather(
        self,
        rows: NDArray[np.int64] | Tensor | Sequence[int],
        device: str | torch.device = "cpu",
    ) -> Tensor:
        """Pixels (B, C, H, W) uint8 of the given rows, on the device."""
        device = torch.device(device)
        index = torch.as_tensor(rows, dtype=torch.int64)
        resident = self._on(device)
        if resident is not None and device.type != "cpu":
            return resident.index_select(0, index.to(device))
        # NumPy picks the rows, because this runs beside a training step: a PyTorch call
        # would open a second OpenMP team in its thread, and with more threads than cores
        # libgomp sleeps at every barrier of the step (a fifth more time, two cores).
        numbers = index.cpu().numpy()
        if resident is not None:
            return torch.from_numpy(resident.numpy()[numbers])
        # Ascending, so that a disk is read forwards.
        order, inverse = np.unique(numbers, return_inverse=True)
        return torch.from_numpy(self.pixels[order][inverse]).to(device)

    def _on(self, device: torch.device) -> Tensor | None:
        if device not in self._resident:
            limit = self.resident_bytes
            if limit is None:
                limit = min(RESIDENT_BYTES, _available_bytes(device) // 4)
            fits = self.pixels.nbytes <= limit
            # np.array copies: the map is read-only, which torch does not know.
            whole = torch.from_numpy(np.array(self.pixels)).to(device) if fits else None
            self._resident[device] = whole
        return self._resident[device]


@dataclass(frozen=True)
class ImageSummary:
    """What the headers of a set of images say.

    Args:
        n_images: How many distinct addresses there are, readable or not.
        heights: Smallest, median and largest, in pixels.
        widths: The same of the widths.
        modes: Number of images for each of Pillow's modes, most frequent first.
        bad: Address and reason of each that has no readable header.
    """

    n_images: int
    heights: tuple[int, int, int]
    widths: tuple[int, int, int]
    modes: dict[str, int]
    bad: list[tuple[str, str]]

    def __str__(self) -> str:
        if self.heights == self.widths == (0, 0, 0):
            return f"{self.n_images:,} images, none readable"
        sizes = [self.heights, self.widths]
        if all(low == high for low, _, high in sizes):
            size = f"{self.heights[0]} x {self.widths[0]}"
        else:
            low, median, high = (f"{h} x {w}" for h, w in zip(*sizes, strict=True))
            size = f"smallest {low}, median {median}, largest {high}"
        modes = ", ".join(f"{n:,} {mode}" for mode, n in self.modes.items())
        lines = [f"{self.n_images:,} images, height x width {size} ({modes})"]
        lines += [f"  cannot be read: {where}: {why}" for where, why in self.bad[:10]]
        if len(self.bad) > 10:
            lines.append(f"  ... and {len(self.bad) - 10:,} more that cannot be read")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def describe_images(addresses: Sequence[str], progress: bool = True) -> ImageSummary:
    """Sizes, modes and unreadable ones of a set of images, from their headers alone.

    Damage behind a header is found by ``PixelStore.prepare`` only.
    """
    distinct = sorted(set(addresses))
    sizes: list[tuple[int, int]] = []
    modes: Counter[str] = Counter()
    bad: list[tuple[str, str]] = []
    with progress_bar("reading headers", len(distinct), shown=progress) as advance:
        for address in distinct:
            try:
                height, width, mode = read_header(address)
                sizes.append((height, width))
                modes[mode] += 1
            except DataError as error:
                bad.append((address, str(error).removeprefix(f"{address}: ")))
            advance(1)
    values = np.array(sizes or [(0, 0)])
    heights, widths = (
        (int(side.min()), int(np.median(side)), int(side.max())) for side in values.T
    )
    return ImageSummary(len(distinct), heights, widths, dict(modes.most_common()), bad)


def _key(distinct: Sequence[str], preprocess: Preprocess) -> str:
    """24 hexadecimal digits that change with preprocessing, addresses and contents.

    Content is known by CRC and size in an archive, by size and time of change on disk:
    reading a million files again to reopen a store would take minutes.
    """
    digest = hashlib.sha256(
        json.dumps([STORE_FORMAT, preprocess.to_dict()], sort_keys=True).encode()
    )
    if not all(os.path.isabs(address) for address in distinct):
        digest.update(os.getcwd().encode("utf-8", "surrogateescape"))
    for address in distinct:
        line = f"{address}\t{_identity(address)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:24]


def _identity(address: str) -> str:
    archive, member = split_address(address)
    try:
        if archive:
            info = open_archive(archive).getinfo(member)
            return f"{info.CRC} {info.file_size}"
        status = os.stat(address)
        return f"{status.st_size} {status.st_mtime_ns}"
    except (OSError, KeyError, ValueError, DataError):
        return "missing"


def _write_pixels(
    folder: Path,
    addresses: Sequence[str],
    preprocess: Preprocess,
    workers: int | None,
    progress: bool,
) -> list[tuple[str, str]]:
    """Write ``pixels.npy`` front to back and return what could not be read.

    Plain writes and no map: a full disk is then an error and not a killed process.
    """
    bad: list[tuple[str, str]] = []
    n_rows = 0
    with (
        open(folder / "pixels.npy", "wb") as file,
        progress_bar("preparing images", len(addresses), shown=progress) as advance,
    ):
        _write_npy_header(file, (len(addresses), *preprocess.input_shape))
        start = file.tell()
        for chunk in preprocess.load_chunks(addresses, workers):
            file.write(chunk.pixels.data)
            n_rows += len(chunk.pixels)
            bad += chunk.bad
            advance(len(chunk.pixels) + len(chunk.bad))
        file.seek(0)
        _write_npy_header(file, (n_rows, *preprocess.input_shape))
        # NumPy leaves room for the first number to change.
        assert file.tell() == start
        _to_disk(file.fileno(), file.flush)
    return bad


def _write_npy_header(file: Any, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _to_disk(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)


def _rename_store(unfinished: Path, folder: Path) -> None:
    for _ in range(2):
        try:
            unfinished.rename(folder)
            break
        except OSError:
            if not folder.is_dir():
                raise
            # Somebody else was quicker, which is as good; or what is there is damaged.
            if PixelStore._open(folder) is not None:
                return
            shutil.rmtree(folder, ignore_errors=True)
    if os.name == "posix":
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unfinished_name() -> str:
    host = socket.gethostname().replace("+", "_")
    return f".unfinished+{host}+{os.getpid()}+{uuid.uuid4().hex[:8]}"


def _remove_abandoned(root: Path) -> None:
    """Remove what killed preparations left behind."""
    own_host = _unfinished_name().split("+")[1]
    for folder in sorted(root.glob(".unfinished+*")):
        try:
            _, host, process, _ = folder.name.split("+")
            if host == own_host and os.name == "posix":
                abandoned = not _is_running(int(process))
            else:
                abandoned = time.time() - folder.stat().st_mtime > ABANDONED_SECONDS
        except (ValueError, FileNotFoundError):
            continue
        if abandoned:
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _available_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * RESIDENT_BYTES  # macOS and Windows do not say: the plain limit holds
