"""Draw a folder of broken and unusual images: ``python tests/data/broken.py FOLDER``."""

import io
import os
import struct
import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw


class Case(NamedTuple):
    """One file: its address, whether onelook can read it, and what the refusal says."""

    address: str
    readable: bool
    reason: str = ""


def drawing(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A red disc on pale blue, away from the centre; the corner at the top left is dark."""
    image = Image.new("RGB", size, (200, 220, 255))
    draw = ImageDraw.Draw(image)
    draw.ellipse((18, 4, 34, 20), fill=(220, 30, 20))
    draw.rectangle((0, 0, 7, 5), fill=(10, 20, 30))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def gigantic_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a grey picture of the given size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")
    )


def turned_jpeg(orientation: int, image: Image.Image | None = None) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image or drawing(), "JPEG", quality=95, exif=exif)


def with_alpha() -> Image.Image:
    """The drawing, its left half transparent."""
    image = drawing("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[0] * 20 + [255] * 20], 30, 0).astype("u1")))
    return image


def animation() -> bytes:
    frames = [drawing("P"), Image.new("P", (40, 30)), Image.new("P", (40, 30), 5)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def draw_readable(folder: Path) -> list[Case]:
    """Unusual images that can be read."""
    palette = drawing().quantize(16)
    corner = palette.getpixel((0, 0))
    wide = np.arange(1200, dtype=np.uint16).reshape(30, 40) * 54
    jpeg = encoded(drawing(), "JPEG", quality=95)
    files = {
        "16-bit-grey.png": encoded(Image.fromarray(wide), "PNG"),
        "1-bit.png": encoded(drawing("1"), "PNG"),
        "alpha.png": encoded(with_alpha(), "PNG"),
        "alpha-grey.png": encoded(with_alpha().convert("LA"), "PNG"),
        "animated.gif": animation(),
        "cmyk.jpg": encoded(drawing("CMYK"), "JPEG", quality=95),
        "exif-orientation-6.jpg": turned_jpeg(6),
        "exif-damaged.jpg": encoded(drawing(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff"),
        "float.tif": encoded(
            Image.fromarray(np.linspace(0, 1, 1200, dtype="f4").reshape(30, 40)), "TIFF"
        ),
        "palette.png": encoded(palette, "PNG"),
        "palette-transparent.png": encoded(palette, "PNG", transparency=corner),
        "really-a-jpeg.png": jpeg,
        "one-pixel.bmp": encoded(Image.new("L", (1, 1), 9), "BMP"),
        "unicode ☃ !.webp": encoded(drawing(), "WEBP", lossless=True),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_bytes(content)
    archive = folder / "good.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner/disc.jpg", jpeg)
    addresses = [str(folder / name) for name in files] + [f"{archive}!/inner/disc.jpg"]
    return [Case(address, True) for address in addresses]


def draw_unreadable(folder: Path) -> list[Case]:
    """Files that must be refused, each for its own reason."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    jpeg = encoded(Image.fromarray(noise), "JPEG")
    png = encoded(Image.fromarray(noise), "PNG")
    gif = encoded(Image.fromarray(noise[:, :, 0]), "GIF")
    bad_crc = bytearray(encoded(drawing(), "PNG"))
    bad_crc[29] ^= 0xFF  # the first byte of the header's CRC
    bad_body = bytearray(png)
    bad_body[len(png) // 2] ^= 0xFF
    files = {
        "corrupt-zlib.png": (bytes(bad_body), "damaged image"),
        "empty.jpg": (b"", "empty file"),
        "float-nan.tif": (
            encoded(Image.fromarray(np.full((9, 9), np.nan, "f4")), "TIFF"),
            "no known scale",
        ),
        "gigantic.png": (gigantic_png(30_000, 30_000), "more than 178,956,970 pixels"),
        "gigantic-a-little.png": (gigantic_png(10_000, 9_000), "10000 x 9000 pixels"),
        "half-header.png": (png[:20], "damaged image"),
        "page.jpg": (b"<!DOCTYPE html><html>404 not found</html>", "not an image.*DOCTYPE"),
        "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        "text.png": (b"I am a text, not a picture.\n", "not an image.*I am a text"),
        "truncated.gif": (gif[: len(gif) // 2], "damaged image"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "truncated.png": (png[: len(png) // 2], "damaged image"),
        "wrong-crc.png": (bytes(bad_crc), "damaged image .its header"),
    }  # fmt: skip
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    cases = [Case(str(folder / name), False, reason) for name, (_, reason) in files.items()]
    (folder / "folder.png").mkdir()
    cases.append(Case(str(folder / "folder.png"), False, "a folder"))
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    cases.append(Case(str(folder / "link.png"), False, "a broken link"))
    cases.append(Case(str(folder / "missing.png"), False, "no such file"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
        cases.append(
            Case(str(folder / "pipe.png"), False, "is a pipe or a device, not a file")
        )
    # The superuser may read anything.
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        (folder / "forbidden.png").write_bytes(png)
        (folder / "forbidden.png").chmod(0)
        cases.append(Case(str(folder / "forbidden.png"), False, "Permission denied"))
    return cases + _draw_in_archives(folder, png)


def _draw_in_archives(folder: Path, png: bytes) -> list[Case]:
    archive = folder / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("empty.png", b"")
        file.writestr("flipped.png", png)
    content = bytearray(archive.read_bytes())
    content[content.index(png) + len(png) // 2] ^= 0xFF
    archive.write_bytes(content)
    (folder / "not-an-archive.zip").write_bytes(b"PK, but no more than that")
    return [
        Case(f"{archive}!/empty.png", False, "empty file"),
        Case(f"{archive}!/flipped.png", False, "damaged in its archive"),
        Case(f"{archive}!/absent.png", False, "no such file in the archive"),
        Case(
            f"{folder / 'not-an-archive.zip'}!/a.png", False, "not a readable zip archive"
        ),
    ]


def draw_broken(folder: Path) -> list[Case]:
    """All of them, in ``folder``, which must be empty."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return draw_readable(folder) + draw_unreadable(folder)


if __name__ == "__main__":
    for case in draw_broken(Path(sys.argv[1])):
        print("readable  " if case.readable else "unreadable", case.address)
