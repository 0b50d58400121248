"""The handwritten digits that scikit-learn ships: real data without a download."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from onelook.data.archives import open_tree
from onelook.data.items import Dataset
from onelook.data.sources.source import Source, unknown_part
from onelook.files import cache_folder, expanded, unwritable_cache, write_whole
from onelook.recipe import DataSettings

FIRST_TEST_DIGIT = 7


def digits(cache: str | Path | None = None) -> Dataset:
    """The 1,797 handwritten digits of 8 × 8 pixels that scikit-learn ships.

    They are written once, as PNGs in one zip, dark ink on white paper (scikit-learn's are
    light on dark). Who drew them is not known.
    """
    return _digits("digits", lambda image: image, cache)


def digits_upscaled(cache: str | Path | None = None) -> Dataset:
    """The same digits as drawings of 105×105 pixels with a margin, as large as Omniglot's.

    The digit takes the share of the frame that it has in MNIST, 20 of 28 pixels. A stand-in
    for MNIST where that is not at hand.
    """
    return _digits("digits-105", _in_a_frame, cache)


def _digits(
    name: str, drawn: Callable[[Image.Image], Image.Image], cache: str | Path | None
) -> Dataset:
    folder = cache_folder() if cache is None else expanded(cache)
    target = folder / f"{name}.zip"
    if not target.exists():
        try:
            _write_digits(target, drawn)
        except OSError as error:
            raise unwritable_cache(folder, error) from error
    tree = open_tree(target)
    return Dataset(
        name=name,
        paths=tuple(tree.address(n) for n in tree.names),
        labels=np.array([int(n.partition("/")[0]) for n in tree.names], dtype=np.int64),
        class_names=tuple("0123456789"),
    )


def _in_a_frame(image: Image.Image) -> Image.Image:
    frame = Image.new("L", (105, 105), 255)
    frame.paste(image.resize((75, 75), Image.Resampling.BICUBIC), (15, 15))
    return frame


def _write_digits(target: Path, drawn: Callable[[Image.Image], Image.Image]) -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(255 - data.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (image, digit) in enumerate(zip(pixels, data.target, strict=True)):
            png = io.BytesIO()
            drawn(Image.fromarray(image)).save(png, "PNG")
            # A ZipInfo carries a fixed date, so that the archive is the same everywhere.
            archive.writestr(zipfile.ZipInfo(f"{digit}/{i:04d}.png"), png.getvalue())
    write_whole(target, buffer.getvalue())


def digits_part(part: str) -> Dataset:
    """The digits 0 to 6 ("train"), or 7, 8 and 9 ("test"), which no recipe trains on."""
    whole = digits()
    is_test = np.array([int(name) >= FIRST_TEST_DIGIT for name in whole.class_names])
    return whole.subset(is_test[whole.labels] == (part == "test"), f"digits {part}")


def _open(root: str | Path, settings: DataSettings) -> Dataset:
    """A part of the digits; they lie in the user's cache, whatever ``root`` is."""
    if settings.part not in SOURCE.parts:
        raise unknown_part(SOURCE, settings.part)
    return digits() if settings.part == "all" else digits_part(settings.part)


SOURCE = Source(
    "digits",
    "scikit-learn's 1,797 handwritten digits; nothing to download",
    _open,
    parts=("train", "test", "all"),
    protocol="digits",
)
