"""Decode one picture safely: upright, grey or RGB, over white, within a limit of pixels.

Pillow decodes. What is added: one answer for every kind of file, a limit on pixels that is
checked before any pixel is decoded, and errors that name the picture.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from onelook.data.inputs.ink import NoInkError, is_light_on_glass
from onelook.data.reading import read_bytes, split_address
from onelook.errors import DataError, MissingExtraError, TooLargeError, UnfitError
from onelook.extras import import_extra

# What one side of a comparison may be: the address of a file (or of ARCHIVE.zip!/MEMBER),
# its bytes, a Pillow image, a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB or
# RGBA; for models of texts, the text.
Item = str | Path | bytes | Image.Image | NDArray[Any]
Items = TypeVar("Items", bound=Sequence[Any])

MAX_PIXELS = 89_000_000
MAX_SIDE = 65_535  # pixels, as in a JPEG; Pillow needs 8 bytes more for each row
LARGE_PIXELS = 4_000_000
THUMBNAIL_SIDE = 96
_REDUCED = ("L", "LA", "RGB", "RGBA")  # modes whose pixels can be averaged
# Pillow knows more, but some of those start other programs (EPS), accept any bytes (TGA) or
# hold larger images than they say (ICO).
FORMATS = "JPEG PNG GIF BMP PPM TIFF WEBP AVIF JPEG2000".split()
# What strangers may send: an AVIF of 16 x 16 may hold 16,384 x 16,384 pixels to decode.
SENT_FORMATS = [one for one in FORMATS if one != "AVIF"]
IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .bmp .gif .tif .tiff .webp .avif .jp2 "
    ".pgm .ppm .pbm .pnm .heic .heif".split()
)
# What begins a HEIF file after its first four bytes, as telephones write it.
_HEIF_BRANDS = tuple(b"ftyp" + brand for brand in (b"hei", b"hev", b"mif1", b"msf1"))

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
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


def name_of(item: Item, name: str = "image") -> str:
    """What messages call an item: its address, or ``name`` if it is held in memory."""
    return str(item) if isinstance(item, str | Path) else name


def check_list(items: Items) -> Items:
    """The items, if they are a list and not one item."""
    single = isinstance(items, str | Path | bytes | Image.Image)
    if single or (isinstance(items, np.ndarray) and items.ndim < 4):
        what = repr(items)[:60] if isinstance(items, str | Path) else type(items).__name__
        raise TypeError(f"expected a list of items, got one: {what}; put it in a list")
    return items


def decode(item: Item, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture of an item, upright, in mode L or RGB, whatever its file was.

    The first frame of an animation; turned as its EXIF orientation says; palettes, CMYK and
    others to RGB; transparent parts over white. 16-bit grey is divided by 257; integers or
    floats of a wider type have the smallest range of [0, 1], [0, 255] and [0, 65535] that
    holds them. Larger images than ``max_pixels`` are refused before decoding.
    """
    with quiet_pillow():
        image = open_image(item, name, max_pixels)
        return image.copy() if image is item else image


def open_image(
    item: Item,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
    *,
    enough: float = 0,
    glass: bool = False,
) -> Image.Image:
    """As ``decode``, but for one thread or inside ``quiet_pillow``; never changes ``item``.

    A JPEG or a large image may come smaller, its shorter side at ``enough`` pixels or more.
    With ``glass``, light drawings on a transparent ground go over black.
    """
    name = name_of(item, name)
    with naming(name):
        if isinstance(item, str | Path):
            item = read_bytes(str(item))
        if isinstance(item, bytes):
            image = _open(io.BytesIO(item), name)
        elif isinstance(item, np.ndarray):
            image = _from_array(item, name)
        elif isinstance(item, Image.Image):
            image = item
        else:
            raise DataError(
                f"{name}: expected a path, bytes, a Pillow image or a uint8 array, "
                f"got {type(item).__name__}"
            )
        _check_size(image, name, max_pixels)
        if enough and isinstance(item, bytes) and image.format in ("JPEG", "MPO"):
            times = int(min(image.size) / enough)
            if times >= 2:
                power = min(8, 1 << (times.bit_length() - 1))
                image.draft(None, (image.width // power, image.height // power))
        return _plain(image, glass, enough)


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    has_colours = array.ndim == 3 and array.shape[2] in (1, 3, 4)
    if array.dtype != np.uint8 or not (array.ndim == 2 or has_colours) or not array.size:
        raise DataError(
            f"{name}: an array must be uint8 of shape (H, W), (H, W, 1), (H, W, 3) or "
            f"(H, W, 4), got {array.dtype} of shape {array.shape}{_conversion(array)}"
        )
    grey = array.ndim == 3 and array.shape[2] == 1
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if grey else array))


def _conversion(array: NDArray[Any]) -> str:
    """How to make uint8 of an array whose type leaves its range open."""
    if array.dtype == np.bool_:
        return "; convert it: array.astype(np.uint8) * 255"
    if array.dtype.kind == "f":
        return "; if its values lie in [0, 1]: (array * 255).round().astype(np.uint8)"
    return ""


def content_of(item: Item, name: str = "image") -> bytes:
    """The bytes of an item's file; a picture held in memory as a PNG."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, str | Path):
        return read_bytes(str(item))
    file = io.BytesIO()
    decode(item, name).save(file, "PNG")
    return file.getvalue()


def picture_of(item: Item) -> NDArray[np.uint8]:
    """An image as people see it: (H, W) or (H, W, 3) uint8, upright, in its own size."""
    return np.asarray(decode(item))


def read_header(address: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int, str]:
    """Height, width and Pillow's mode of an image as stored, without decoding it."""
    if split_address(address)[0] or not Path(address).is_file():
        return header_in(io.BytesIO(read_bytes(address)), address, max_pixels)
    with naming(address), open(address, "rb") as file:
        return header_in(file, address, max_pixels)


def header_in(
    file: IO[bytes],
    address: str,
    max_pixels: int = MAX_PIXELS,
    formats: list[str] = FORMATS,
) -> tuple[int, int, str]:
    """``read_header`` of an open file; ``address`` is for messages."""
    with quiet_pillow(), naming(address), _open(file, address, formats) as image:
        _check_size(image, address, max_pixels)
        return image.height, image.width, image.mode


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hide Pillow's warnings: sizes are checked here, the others do not concern users."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\..*)?")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@contextmanager
def naming(address: str) -> Iterator[None]:
    """Turn whatever is raised inside into a DataError that names the picture."""
    try:
        yield
    except DataError:
        raise
    except NoInkError as error:
        raise UnfitError(f"{address}: {error}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        why = f"more than {limit:,} pixels; make it smaller"
        raise TooLargeError(f"{address}: {why}") from error
    except UnidentifiedImageError as error:  # its message holds an address in memory
        raise DataError(f"{address}: damaged image (its header)") from error
    # Damaged files make Pillow raise nearly anything: OSError, SyntaxError, struct.error,
    # zlib.error.
    except Exception as error:
        why = str(error) or type(error).__name__
        raise DataError(f"{address}: damaged image ({why})") from error


def _open(file: IO[bytes], address: str, formats: list[str] = FORMATS) -> Image.Image:
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError as error:
        file.seek(0)
        start = file.read(16)
        if start[4:].startswith(_HEIF_BRANDS):
            return _open_heif(file, address)
        if not start:
            reason = "empty file"
        elif start.startswith(_BEGINNINGS):
            reason = "damaged image (its header)"
        else:
            reason = f"not an image; it begins with {start!r}"
        raise DataError(f"{address}: {reason}") from error


def _open_heif(file: IO[bytes], address: str) -> Image.Image:
    try:
        import_extra("pillow_heif", "heif").register_heif_opener()
    except MissingExtraError as error:
        raise DataError(f"{address}: a HEIF image, and {error}") from error
    file.seek(0)
    try:
        return Image.open(file, formats=["HEIF"])
    except UnidentifiedImageError as error:
        raise DataError(f"{address}: damaged HEIF image; copy it again") from error


def _check_size(image: Image.Image, address: str, max_pixels: int) -> None:
    tags = getattr(image, "tag_v2", {})  # a TIFF is decoded in whole tiles
    tile = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
    for width, height in (image.size, tile):
        if max(width, height) > MAX_SIDE:
            raise TooLargeError(
                f"{address}: {width} x {height} pixels, and no side may have more than "
                f"{MAX_SIDE:,}; cut it into parts"
            )
        if width * height > max_pixels:
            raise TooLargeError(
                f"{address}: {width} x {height} pixels, more than the limit of "
                f"{max_pixels:,}; make it smaller"
            )


def _plain(image: Image.Image, glass: bool = False, enough: float = 0) -> Image.Image:
    """Upright, in mode L or RGB; ``glass``: light drawings on glass go over black."""
    image.load()
    turn = _TURNS.get(_orientation(image))
    # Every later step takes seconds and hundreds of megabytes for 40 megapixels.
    if enough and image.mode in _REDUCED and image.width * image.height > LARGE_PIXELS:
        times = max(1.0, min(image.size) / enough / 2)
        size = round(image.width / times), round(image.height / times)
        image = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
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
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (np.isfinite(values).all() and 0 <= low and high <= 65535):
        raise ValueError(f"values from {low:g} to {high:g} have no known scale")
    if values.dtype.kind in "iu" and (image.mode.startswith("I;16") or high > 255):
        return Image.fromarray(np.rint(np.arange(65536) / 257).astype(np.uint8)[values])
    if high > 255:
        values = values / 257
    elif image.mode == "F" and high <= 1:
        values = values * 255
    return Image.fromarray(np.rint(values).astype(np.uint8))


def thumbnail_of(data: bytes) -> bytes:
    """A picture of at most 96 pixels a side, as WebP, of the bytes of an image."""
    with quiet_pillow():
        image = open_image(data, enough=2 * THUMBNAIL_SIDE)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()
