"""Overlays: pictures and transparent heat maps of a pair, as ``data:`` addresses."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from onelook.comparison import data_address
from onelook.explain import ALIKE, APART, Explanation

# Opacity of the strongest place, of 255: what lies below must stay visible.
LARGEST_ALPHA = 200


def overlays_of(explanation: Explanation) -> dict[str, str]:
    """Both pictures, and over each what makes the two alike and what sets them apart."""
    addresses: dict[str, str] = {}
    for name in ("left", "right"):
        side = getattr(explanation, name)
        addresses[name] = data_address(Image.fromarray(side.picture))
        addresses[f"{name}_alike"] = data_address(_tinted(side.alike, ALIKE))
        addresses[f"{name}_apart"] = data_address(_tinted(side.apart, APART))
    return addresses


def _tinted(heat: NDArray[np.float32], colour: str) -> Image.Image:
    """RGBA (H, W) in one colour, as opaque as the heat map (H, W) in [0, 1] is hot."""
    image = Image.new("RGBA", heat.shape[::-1], ImageColor.getrgb(colour))
    image.putalpha(Image.fromarray(np.rint(LARGEST_ALPHA * heat).astype(np.uint8)))
    return image
