"""What a picture shows, by its pixels alone: a drawing on plain paper, or a photograph."""

from collections.abc import Iterable
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.decoding import Item, open_image, quiet_pillow
from onelook.errors import DataError

Kind = Literal["drawing", "photograph"]

LOOKED_AT = 5  # pictures that decide for all
SIDE = 256  # pixels to which a picture is shrunk
# Paper and ink are two shades: they explain this share of the variance of a drawing's grey
# levels. The darker or lighter of them, the ink, covers less than this share of it.
MIN_TWO_SHADES, MAX_INK = 0.82, 0.42
# A pixel is coloured when its channels differ by this many levels.
COLOURED, MAX_COLOURED = 40, 0.02


def kind_of(items: Iterable[Item]) -> Kind:
    """What most of the first pictures show; of those that cannot be read, none counts."""
    kinds = []
    with quiet_pillow():
        for item in islice(items, LOOKED_AT):
            try:
                kinds.append(picture_kind(open_image(item, enough=SIDE)))
            except DataError:  # who opens it next says so
                continue
    return "photograph" if 2 * kinds.count("photograph") > len(kinds) else "drawing"


def picture_kind(image: Image.Image) -> Kind:
    """Whether a picture is a drawing or a photograph."""
    image = image.copy()
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    if image.mode == "RGB":
        colours = np.asarray(image).astype(np.int64)
        spread = colours.max(2) - colours.min(2)
        if (spread > COLOURED).mean() > MAX_COLOURED:
            return "photograph"
    explained, smaller = _two_shades(np.array(image.convert("L").histogram()))
    drawn = explained >= MIN_TWO_SHADES and smaller <= MAX_INK
    return "drawing" if drawn else "photograph"


def _two_shades(histogram: NDArray[np.int64]) -> tuple[float, float]:
    """The variance that two shades explain, a share, and the smaller one's (Otsu 1979)."""
    share = histogram / histogram.sum()
    levels = np.arange(256)
    mean, below = share @ levels, np.cumsum(share)
    variance = share @ (levels - mean) ** 2
    if variance == 0:
        return 0.0, 0.0
    first = np.cumsum(share * levels)
    parts = np.maximum(below * (1 - below), 1e-12)
    between = (mean * below - first) ** 2 / parts
    best = int(between.argmax())
    return float(between[best] / variance), float(min(below[best], 1 - below[best]))
