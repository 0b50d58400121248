"""Decode one image safely; Preprocess turns it into the pixels that a network sees.

Pillow decodes. What is added: one answer for every sort of file (upright, grey or RGB, over
white), a limit on pixels that is checked before any pixel is decoded, and errors that name
the address.
"""

import io
import os
import stat
import threading
import time
import warnings
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from onelook.data.archives import split_address
from onelook.data.inputs.framing import frame_ink, resize_and_pad
from onelook.data.inputs.ink import WORKING_SIDE, NoInkError, find_ink, is_light_on_glass
from onelook.data.inputs.processes import in_order, load_in_processes
from onelook.errors import DataError, TooLargeError
from onelook.machine import cores
from onelook.recipe import ImageSettings, InkSettings

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 89_000_000
MAX_BYTES = 1 << 30
# Pillow knows more, but some of those start other programs (EPS) or accept any bytes (TGA).
FORMATS = "JPEG PNG GIF BMP PPM TIFF WEBP AVIF JPEG2000 ICO".split()
CHUNK = 32
FEW = 4  # images may have been named one by one: there is no going on without them
# Threads pay when most of an image's time is decoding, which leaves the interpreter free.
# Below this they wait for each other: 1-bit 105 x 105 PNG (0.15 ms) took 1.7 times as long
# with two threads, 250 x 250 JPEG (0.8 ms) 0.6 times.
SECONDS_WORTH_A_THREAD = 0.0004
# Framing ink takes 0.8 ms of Python for an image and half a second to start a process.
PARTS_WORTH_A_PROCESS = 60

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")

# Open archives, by process and path: a file handle must not be shared with a forked
# process.
_archives: dict[tuple[int, str], tuple[tuple[int, int], zipfile.ZipFile]] = {}
_archives_lock = threading.Lock()


def open_archive(path: str) -> zipfile.ZipFile:
    """The zip archive, opened once in this process and again when the file has changed.

    Raises:
        DataError: If there is no such file or it is not a zip archive.
    """
    try:
        status = os.stat(path)
        changed = (status.st_mtime_ns, status.st_size)
        with _archives_lock:
            known = _archives.get((os.getpid(), path))
            if known is None or known[0] != changed:
                known = (changed, zipfile.ZipFile(path))
                _archives[os.getpid(), path] = known
            return known[1]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such archive") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable zip archive ({error})") from error


def read_bytes(address: str) -> bytes:
    """The bytes of a file, or of a member of a zip archive. Safe to call from many threads.

    Raises:
        DataError: If it is missing, not a regular file, larger than 1 GiB, or damaged in
            its archive.
    """
    archive, member = split_address(address)
    if archive:
        return _read_member(address, archive, member)
    try:
        status = os.stat(address)
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise DataError(f"{address}: {kind}")
        _check_bytes(address, status.st_size)
        with open(address, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        broken = os.path.islink(address)
        reason = "a link to a file that is not there" if broken else "no such file"
        raise DataError(f"{address}: {reason}") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{address}: {getattr(error, 'strerror', None) or error}"
        ) from error


def _read_member(address: str, archive: str, member: str) -> bytes:
    handle = open_archive(archive)
    try:
        info = handle.getinfo(member)
        if info.is_dir():
            raise DataError(f"{address}: a folder")
        _check_bytes(address, info.file_size)
        return handle.read(info)
    except KeyError as error:
        raise DataError(f"{address}: no such file in the archive") from error
    except DataError:
        raise
    # zipfile raises many kinds on damaged bytes, passwords and unknown compressions.
    except Exception as error:
        raise DataError(f"{address}: damaged in its archive ({error})") from error


def _check_bytes(address: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{address}: {size:,} bytes, more than the limit of {MAX_BYTES:,}")


def decode(data: bytes, address: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image in ``data``, upright, in mode L or RGB, whatever its file was.

    The first frame of an animation; turned as its EXIF orientation says; palettes, CMYK and
    others to RGB; transparent parts over white. 16-bit grey is divided by 257; integers or
    floats of a wider type are taken for [0, 1], [0, 255] or [0, 65535], the smallest that
    holds them.

    Args:
        data: The bytes of the file.
        address: Where they come from, for messages.
        max_pixels: Refuse larger images before decoding; never above Pillow's own limit.

    Raises:
        DataError: If they are not an image or are damaged.
        TooLargeError: If they exceed ``max_pixels``.
    """
    with _quiet_pillow():
        return _decode(data, address, max_pixels)


def read_header(address: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int, str]:
    """Height, width and Pillow's mode of an image as stored, without decoding it.

    Raises:
        DataError: As ``decode`` does, but damage behind the header goes unseen.
    """
    with _quiet_pillow(), _naming(address):
        if not split_address(address)[0] and Path(address).is_file():
            with open(address, "rb") as file:
                return _header(file, address, max_pixels)
        return _header(io.BytesIO(read_bytes(address)), address, max_pixels)


def header_in(
    data: bytes, address: str, max_pixels: int = MAX_PIXELS
) -> tuple[int, int, str]:
    """``read_header`` of an encoded image; ``address`` is for messages."""
    with _quiet_pillow(), _naming(address):
        return _header(io.BytesIO(data), address, max_pixels)


def _header(file: IO[bytes], address: str, max_pixels: int) -> tuple[int, int, str]:
    with _open(file, address, max_pixels) as image:
        return image.height, image.width, image.mode


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings from users: sizes are checked here, the rest is no matter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\..*)?")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@contextmanager
def _naming(address: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except NoInkError as error:
        raise DataError(f"{address}: {error}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise TooLargeError(
            f"{address}: more than {limit:,} pixels; make it smaller"
        ) from error
    # Damaged files make Pillow raise nearly anything: OSError, SyntaxError, struct.error,
    # zlib.error.
    except Exception as error:
        why = str(error) or type(error).__name__
        raise DataError(f"{address}: damaged image ({why})") from error


def _open(file: IO[bytes], address: str, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        start = file.read(16)
        if not start:
            reason = "empty file"
        elif start.startswith(_BEGINNINGS):
            reason = "damaged image (its header)"
        else:
            reason = f"not an image; it begins with {start!r}"
        raise DataError(f"{address}: {reason}") from error
    if image.width * image.height > max_pixels:
        raise TooLargeError(
            f"{address}: {image.width} x {image.height} pixels, more than the limit of "
            f"{max_pixels:,}; make it smaller"
        )
    return image


def _decode(
    data: bytes, address: str, max_pixels: int, enough: float = 0, glass: bool = False
) -> Image.Image:
    """As ``decode``; a JPEG may come smaller, its shorter side at ``enough`` pixels."""
    with _naming(address):
        image = _open(io.BytesIO(data), address, max_pixels)
        if enough and image.format in ("JPEG", "MPO"):
            times = int(min(image.size) / enough)
            if times >= 2:
                power = min(8, 1 << (times.bit_length() - 1))
                image.draft(None, (image.width // power, image.height // power))
        return _plain(image, glass)


def _plain(image: Image.Image, glass: bool = False) -> Image.Image:
    """Upright, in mode L or RGB; ``glass``: light drawings on glass go over black."""
    image.load()
    turn = _TURNS.get(_orientation(image))
    if image.mode[0] in "IF":
        image = _to_eight_bits(image)
    elif image.has_transparency_data:
        image = _over(image, "black" if glass and is_light_on_glass(image) else "white")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
        image.info = {}  # its orientation is spent: a second _plain must not turn it again
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    # Damaged metadata is no reason to refuse the picture.
    except Exception:
        return 1


def _over(image: Image.Image, colour: str) -> Image.Image:
    grey = image.mode in ("1", "L", "LA", "La")
    image = image.convert("LA" if grey else "RGBA")
    opaque = image.convert("L" if grey else "RGB")
    paper = Image.new(opaque.mode, opaque.size, colour)
    return Image.composite(opaque, paper, image.getchannel("A"))


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (np.isfinite(values).all() and 0 <= low and high <= 65535):
        raise ValueError(f"values from {low:g} to {high:g} have no known scale")
    if image.mode.startswith("I;16") or high > 255:
        values = values / 257
    elif image.mode == "F" and high <= 1:
        values = values * 255
    return Image.fromarray(np.rint(values).astype(np.uint8))


class Chunk(NamedTuple):
    """Pixels (n, C, H, W) uint8 of the readable images in their order, and the others."""

    pixels: NDArray[np.uint8]
    bad: list[tuple[str, str]]


@dataclass(frozen=True)
class Preprocess:
    """How an image file becomes a uint8 array (C, H, W). Saved with the model.

    In this order: decode (see ``decode``), crop to the centred square, grey or RGB, resize
    with the stated filter (Pillow's, which averages when it shrinks), pad, invert. With
    ``ink`` the drawing is found, framed and drawn with one pen in place of the resize.

    A JPEG with at least four times the sides that are asked for is decoded at 1/2, 1/4 or
    1/8 of its size, never below twice those. Photographs measured 2 to 3.4 times as fast,
    at most 2 grey levels away from the full decoding and 0.2 on average.

    Args:
        settings: Size, channels, crop, filter, normalisation.

    Raises:
        ValueError: If ``mean`` or ``std`` has neither 1 value nor one for each channel, or
            a ``std`` is not positive.

    Example:
        >>> preprocess = Preprocess(ImageSettings(height=4, width=6))
        >>> preprocess.load(Image.new("RGB", (30, 20), "white")).shape
        (1, 4, 6)
    """

    settings: ImageSettings

    def __post_init__(self) -> None:
        channels = self.settings.channels
        for name in ("mean", "std"):
            values = getattr(self.settings, name)
            if len(values) not in (1, channels):
                raise ValueError(
                    f"{name} must have 1 value or {channels}, got {values}: one a channel"
                )
        if min(self.settings.std) <= 0:
            raise ValueError(f"std must be positive, got {self.settings.std}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.settings.channels, self.settings.height, self.settings.width

    def load(self, source: str | Path | Image.Image) -> NDArray[np.uint8]:
        """Pixels (C, H, W) of an address or of a Pillow image.

        Raises:
            DataError: If it cannot be read.
        """
        if isinstance(source, Image.Image):
            with _quiet_pillow(), _naming("image"):
                return self._pixels(_plain(source, self.settings.ink is not None))
        return self.load_bytes(read_bytes(str(source)), str(source))

    def load_bytes(self, data: bytes, address: str) -> NDArray[np.uint8]:
        """Pixels (C, H, W) of an encoded image; ``address`` is for messages."""
        with _quiet_pillow():
            return self._load_bytes(data, address)

    def load_many(
        self, addresses: Sequence[str], workers: int | None = None
    ) -> NDArray[np.uint8]:
        """Pixels (N, C, H, W) of all addresses, in their order.

        Raises:
            DataError: If some cannot be read; it lists the first ten.
        """
        chunks = list(self.load_chunks(addresses, workers))
        refuse_bad([entry for chunk in chunks for entry in chunk.bad], len(addresses))
        empty = np.empty((0, *self.input_shape), np.uint8)
        return np.concatenate([empty, *(chunk.pixels for chunk in chunks)])

    def load_chunks(
        self, addresses: Sequence[str], workers: int | None = None
    ) -> Iterator[Chunk]:
        """All addresses in their order, some at a time, with few chunks held in memory.

        Args:
            addresses: Files or members of archives.
            workers: Threads, or processes where ink is framed; ``None`` takes one for each
                core if an image takes long enough to pay.
        """
        parts = deque(addresses[i : i + CHUNK] for i in range(0, len(addresses), CHUNK))
        with _quiet_pillow():
            if workers is None:
                fastest = float("inf")
                # Two, since the first one pays for Pillow's imports.
                for _ in range(min(2, len(parts))):
                    part = parts.popleft()
                    wall, busy = time.perf_counter(), time.thread_time()
                    chunk = self._load_part(part)
                    wall, busy = time.perf_counter() - wall, time.thread_time() - busy
                    # Waiting counts little: it may be a slow disk or a busy machine.
                    fastest = min(fastest, max(busy, wall / 10) / len(part))
                    yield chunk
                workers = cores() if fastest > SECONDS_WORTH_A_THREAD else 1
            if workers == 1:
                yield from map(self._load_part, parts)
            elif self.settings.ink is not None and len(parts) >= PARTS_WORTH_A_PROCESS:
                yield from load_in_processes(self, parts, workers)
            else:
                yield from in_order(self._load_part, parts, workers)

    def _load_part(self, addresses: Sequence[str]) -> Chunk:
        pixels = np.empty((len(addresses), *self.input_shape), np.uint8)
        bad: list[tuple[str, str]] = []
        n_good = 0
        for address in addresses:
            try:
                pixels[n_good] = self._load_bytes(read_bytes(address), address)
                n_good += 1
            except DataError as error:
                bad.append((address, str(error).removeprefix(f"{address}: ")))
        return Chunk(pixels[:n_good], bad)

    def _load_bytes(self, data: bytes, address: str) -> NDArray[np.uint8]:
        settings = self.settings
        drawn = settings.ink is not None
        needed = WORKING_SIDE if drawn else 2 * max(settings.height, settings.width)
        enough = needed / (settings.crop or 1)
        image = _decode(data, address, MAX_PIXELS, enough, glass=drawn)
        with _naming(address):
            return self._pixels(image)

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        settings = self.settings
        if settings.crop:
            side = max(1, round(settings.crop * min(image.size)))
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if settings.ink is not None:
            return self._ink(image, settings.ink)
        mode = "L" if settings.channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        size = settings.width, settings.height
        if settings.fit == "pad":
            image = resize_and_pad(image, size, settings.resample)
        else:
            image = image.resize(size, Image.Resampling[settings.resample.upper()])
        pixels: NDArray[np.uint8] = np.array(image)  # (H, W) or (H, W, 3)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return 255 - pixels if settings.invert else np.ascontiguousarray(pixels)

    def _ink(self, image: Image.Image, settings: InkSettings) -> NDArray[np.uint8]:
        channels, height, width = self.input_shape
        drawing = frame_ink(find_ink(image.convert("L")), (width, height), settings)
        shown = drawing if self.settings.invert else 255 - drawing
        return np.repeat(shown[None], channels, axis=0)

    def to_float(self, pixels: "Tensor") -> "Tensor":
        """Float32 in [0, 1] of uint8 pixels of any shape."""
        return pixels.float() / 255

    def normalize(self, images: "Tensor") -> "Tensor":
        """``(images - mean) / std`` for images (N, C, H, W) in [0, 1]."""
        mean = images.new_tensor(self.settings.mean).view(1, -1, 1, 1)
        std = images.new_tensor(self.settings.std).view(1, -1, 1, 1)
        return (images - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``kind`` = ``"image"``."""
        # Without what is off, so that a later setting leaves older models' keys alone.
        settings = self.settings.model_dump(mode="json", exclude_none=True)
        return {"kind": "image", **settings}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Preprocess":
        """The inverse of ``to_dict``."""
        values = {key: value for key, value in content.items() if key != "kind"}
        return cls(ImageSettings(**values))


def refuse_bad(
    bad: Sequence[tuple[str, str]], n_all: int, what: str = "images", limit: int = 10
) -> None:
    """Raise a DataError that lists unreadable items, if there are any."""
    if not bad:
        return
    lines = [f"  {address}: {reason}" for address, reason in bad[:limit]]
    if len(bad) > limit:
        lines.append(f"  ... and {len(bad) - limit:,} more")
    lines.append("repair or remove them")
    if n_all > FEW:
        lines[-1] += "; --skip-bad (in Python skip_bad=True) goes on without them"
    text = "\n".join(lines)
    raise DataError(f"{len(bad):,} of {n_all:,} {what} cannot be read:\n{text}")


def picture_of(address: str) -> NDArray[np.uint8]:
    """An image as people see it: (H, W) or (H, W, 3) uint8, upright, in its own size."""
    return np.asarray(decode(read_bytes(address), address))
