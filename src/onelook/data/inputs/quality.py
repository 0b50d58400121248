"""Quality: whether a picture is good enough to know a thing again by.

One poor example makes every later answer for its identity worse, and nobody sees why. The
limits were set on photographs of things, products and faces and on drawings, of which at
most 1 in 100 is called poor (``tests/data/inputs/test_quality.py``).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs import Input
from onelook.data.inputs.decoding import open_image, quiet_pillow
from onelook.data.inputs.images import ImageInput

# Shorter side of a picture, as a share of the network's, below which things are mistaken.
SMALLEST_SHARE = 0.4
# Blur is measured at the size that the network sees, of at most so many pixels a side. Few
# faces are larger than this in their photographs, and aligning enlarges the others.
SIDE, FACE_SIDE = 160, 48
# Grey levels, as a standard deviation, and the sharpness below which a picture is poor.
LEAST_CONTRAST, LEAST_SHARPNESS = 4.0, 0.38
REACH = 2  # pixels on each side that the blur averages


def fault_of(taken: Input, content: bytes, loaded: object) -> str:
    """Why a picture is a poor example of what it shows; "" where it is not.

    ``content`` is its file, and ``loaded`` what the input made of that.
    """
    if not taken.subject:
        return ""
    crop = taken.settings.crop if isinstance(taken, ImageInput) else 0.0
    side = min((taken.input_shape or (0, SIDE, SIDE))[1:])
    with quiet_pillow():
        image = open_image(content, enough=2 * side / (crop or 1))
    width, height = image.size
    if crop:
        image = _middle(image, crop)
    if taken.input_shape is not None and min(image.size) < SMALLEST_SHARE * side:
        least = round(SMALLEST_SHARE * side / (crop or 1))
        return f"too small: {width} x {height} pixels; give {least} or more a side"
    grey = _grey(taken, image, loaded)
    if grey.std() < LEAST_CONTRAST:
        return "blank: one shade all over; give a picture that shows something"
    if sharpness(grey) < LEAST_SHARPNESS:
        which = "its face is" if taken.subject == "face" else "it is"
        return f"blurred: {which} out of focus, shaken or enlarged; give a sharper picture"
    return ""


def _middle(image: Image.Image, crop: float) -> Image.Image:
    half = crop * min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    return image.crop((round(x - half), round(y - half), round(x + half), round(y + half)))


def _grey(taken: Input, image: Image.Image, loaded: object) -> NDArray[np.float64]:
    """Grey levels (H, W) at the size at which blur is measured."""
    side = min(SIDE, *(taken.input_shape or (0, SIDE, SIDE))[1:])
    if taken.subject == "face":
        picture = taken.picture(loaded)
        assert picture is not None
        image, side = Image.fromarray(picture), min(side, FACE_SIDE)
    zoom = max(1.0, min(image.size) / side)
    size = round(image.width / zoom), round(image.height / zoom)
    return np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), np.float64)


def sharpness(grey: NDArray[np.float64]) -> float:
    """The share of the change between neighbouring pixels (H, W) that a blur takes away.

    Across or down, whichever is less: a picture that was moved is blurred in one direction.

    Reference:
        Crete, Dolmiere, Ladret, Nicolas. The Blur Effect: Perception and Estimation with a
        New No-Reference Perceptual Blur Metric. SPIE 2007. Theirs is 1 minus this.
    """
    window = 2 * REACH + 1
    wide = np.pad(grey, REACH, "edge")
    again = sliding_window_view(wide, (window, window)).mean((2, 3))
    shares = [1.0]
    for axis in (0, 1):
        before, after = (np.abs(np.diff(one, axis=axis)) for one in (grey, again))
        if before.any():
            shares.append(float(np.maximum(before - after, 0).sum() / before.sum()))
    return min(shares)
