"""Overlays: pictures and heat-maps as ``data:`` addresses that a page lays over each
other."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from onelook.explain import ALIKE, APART, Explanation

# Of the strongest place: what lies below must stay visible.
LARGEST_ALPHA = 200


def overlays_of(explanation: Explanation) -> dict[str, str]:
    """Both pictures, and over each what made the two alike and what told them apart."""
    addresses: dict[str, str] = {}
    for side in ("left", "right"):
        picture: NDArray[np.uint8] = getattr(explanation, f"{side}_picture")
        addresses[side] = _address(Image.fromarray(picture))
        for kind, colour in (("alike", ALIKE), ("apart", APART)):
            heat: NDArray[np.float32] = getattr(explanation, f"{side}_{kind}")
            addresses[f"{side}_{kind}"] = _address(_tinted(heat, colour))
    return addresses


def _tinted(heat: NDArray[np.float32], colour: str) -> Image.Image:
    """RGBA of one colour, as opaque as a heat-map (H, W) in [0, 1] is hot."""
    image = Image.new("RGBA", heat.shape[::-1], ImageColor.getrgb(colour))
    image.putalpha(Image.fromarray(np.rint(LARGEST_ALPHA * heat).astype(np.uint8)))
    return image


def _address(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
