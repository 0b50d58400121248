"""Framing: a picture, or its ink alone, brought to the size that a network takes.

What a drawing shows does not depend on the pen, the place on the sheet or the camera's
distance. So ink is centred, the drawing's longer side fills a set share of the frame, and
its strokes get a set width: by a threshold where little is wanting, else grown or peeled by
distance.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.filters import least_around
from onelook.recipe import InkSettings

# A stroke never becomes wider than this share of the frame before it is thinned, so that a
# dot stays one; more where it is wide because the picture is blurred: where its edge, of
# the few pixels that a digit of 8 x 8 was enlarged from, is wider than BLURRED pixels.
MAX_PEN, MAX_BLURRED_PEN, BLURRED = 0.12, 0.25, 1.5
# Strokes between these many times the wanted width get it by a threshold alone.
NEARLY = (0.8, 1.5)
# Others are redrawn at a size at which a pen is about this many pixels wide, and made at
# least so wide before that nothing of them is lost.
REDRAWN_PEN, LEAST_PEN = 4, 1.5
# Pillow's bilinear filter, when it shrinks, is a triangle from -1 to 1 output pixels: its
# standard deviation.
SPREAD = 6**-0.5


@dataclass(frozen=True)
class Extent:
    """Where ink lies, in pixels: the box around it, the width of its strokes and edges."""

    left: int
    top: int
    right: int
    bottom: int
    pen: float
    edge: float


def resize_and_pad(image: Image.Image, size: tuple[int, int], resample: str) -> Image.Image:
    """The whole picture in a frame of ``size``, its ratio kept, its rim's median around."""
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = (
        min(size[0], max(1, round(image.width * scale))),
        min(size[1], max(1, round(image.height * scale))),
    )
    image = image.resize(inner, Image.Resampling[resample.upper()])
    pixels = np.asarray(image).reshape(inner[1], inner[0], -1)  # (h, w, C)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(int(value) for value in np.median(border, axis=0))
    canvas = Image.new(image.mode, size, colour if len(colour) > 1 else colour[0])
    canvas.paste(image, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas


def frame_ink(
    ink: NDArray[np.uint8], size: tuple[int, int], settings: InkSettings
) -> NDArray[np.uint8]:
    """Ink (H, W) uint8 as a picture (height, width) of ``size`` = (width, height)."""
    extent = measure(ink)
    scale = _scale(extent, ink.shape, size, settings)
    pen = settings.pen * min(size)
    width = extent.pen * scale
    if NEARLY[0] * pen <= width <= NEARLY[1] * pen:
        return _with_pen(_placed(ink, extent, scale, size), width, pen)
    times = max(1, round(REDRAWN_PEN / pen))
    large = _placed(ink, extent, scale * times, (size[0] * times, size[1] * times))
    redrawn = Image.fromarray(_redrawn(large, width * times, pen * times))
    return _with_pen(redrawn.resize(size, Image.Resampling.BILINEAR), pen, pen)


def measure(ink: NDArray[np.uint8]) -> Extent:
    """Box and stroke width of ink (H, W); the width is twice the area over the outline."""
    drawn = ink > 127
    if not drawn.any():
        drawn = ink > 0
    ys, xs = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    top, bottom = int(ys[0]), int(ys[-1]) + 1
    left, right = int(xs[0]), int(xs[-1]) + 1
    box = np.pad(drawn[top:bottom, left:right], 1)
    # Crofton's formula: an outline's length from its crossings with lines in 4 directions.
    straight = np.count_nonzero(box[1:] != box[:-1])
    straight += np.count_nonzero(box[:, 1:] != box[:, :-1])
    slanted = np.count_nonzero(box[1:, 1:] != box[:-1, :-1])
    slanted += np.count_nonzero(box[1:, :-1] != box[:-1, 1:])
    outline = math.pi / 8 * (straight + slanted / math.sqrt(2))
    edge = np.count_nonzero((ink > 0) & (ink < 255)) / outline
    return Extent(left, top, right, bottom, 2 * np.count_nonzero(box) / outline, edge)


def _scale(
    extent: Extent, shape: tuple[int, ...], size: tuple[int, int], settings: InkSettings
) -> float:
    """Pixels of the result for one of the ink."""
    frame = min(size)
    pen = settings.pen * frame
    max_pen = MAX_PEN if extent.edge <= BLURRED else MAX_BLURRED_PEN
    # Changing the width of the strokes moves the box's sides by half of the change.
    wide = max(extent.right - extent.left - extent.pen, 1e-6)
    high = max(extent.bottom - extent.top - extent.pen, 1e-6)
    scale = min(
        (settings.fill * size[0] - pen) / wide,
        (settings.fill * size[1] - pen) / high,
        max_pen * frame / extent.pen,
    )
    if settings.zoom is not None:
        plain = min(size[0] / shape[1], size[1] / shape[0])
        low, top = settings.zoom
        scale = min(max(scale, low * plain), top * plain)
    return scale


def _placed(
    ink: NDArray[np.uint8], extent: Extent, scale: float, size: tuple[int, int]
) -> Image.Image:
    """A picture of ``size`` with the ink resized by ``scale`` and its box in the middle."""
    wide, high = size[0] / scale, size[1] / scale
    left = (extent.left + extent.right - wide) / 2
    top = (extent.top + extent.bottom - high) / 2
    # Pillow resizes from within a picture only; beyond its sides there is no ink.
    x, y = math.floor(left), math.floor(top)
    right, bottom = math.ceil(left + wide) + 1, math.ceil(top + high) + 1
    outer = Image.fromarray(ink).crop((x, y, right, bottom))
    box = (left - x, top - y, left - x + wide, top - y + high)
    return outer.resize(size, Image.Resampling.BILINEAR, box=box)


def _with_pen(image: Image.Image, width: float, pen: float) -> NDArray[np.uint8]:
    """A resized picture of strokes ``width`` pixels wide as one of ``pen`` pixels.

    Across a straight stroke the filter makes a bump. The level that it has half a pen's
    width from its middle becomes 0.5, the background 0 and the middle 1.
    """
    level, top = _bump(pen / 2, width), _bump(0, width)
    gain = 0.5 / max(min(level, top - level), 0.01)
    values = 0.5 + gain * (np.arange(256) / 255 - level)
    table = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    table[0] = 0
    framed: NDArray[np.uint8] = table[np.asarray(image)]
    return framed


def _bump(distance: float, width: float) -> float:
    """Height of a stroke of that width, filtered, at a distance from its middle line."""
    root = SPREAD * math.sqrt(2)
    right, left = (distance + width / 2) / root, (distance - width / 2) / root
    return (math.erf(right) - math.erf(left)) / 2


def _redrawn(image: Image.Image, width: float, pen: float) -> NDArray[np.uint8]:
    """Strokes of ``width`` pixels grown or peeled to ``pen`` pixels around their middle."""
    wide_enough = max(width, LEAST_PEN)
    drawn = _with_pen(image, width, wide_enough) > 127
    reach = math.ceil(max(width, pen) / 2) + 1  # what lies farther is clipped
    if wide_enough < pen:
        beyond = _distance_to(drawn, reach) - 0.5
        inside = (pen - wide_enough) / 2 - beyond
    else:
        depth = _distance_to(~drawn, reach) - 0.5
        # Half of the stroke's width around here; never more than the usual half, or a
        # crossing, which is deeper than its arms, would cut them off.
        half = np.minimum(-least_around(-depth, math.ceil(width / 2)), width / 2)
        inside = np.where(drawn, depth - half + pen / 2, -1)
    redrawn: NDArray[np.uint8] = np.rint(255 * np.clip(inside + 0.5, 0, 1)).astype(np.uint8)
    return redrawn


def _distance_to(marked: NDArray[np.bool_], reach: int) -> NDArray[np.float64]:
    """The distance (H, W) to the nearest marked pixel, exact as far as ``reach``."""
    squared = least_around(np.where(marked, 0.0, np.inf), reach, slope=1)
    distance: NDArray[np.float64] = np.sqrt(squared)
    return distance
