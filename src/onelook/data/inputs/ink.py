"""Ink: which pixels of a picture were drawn, whatever it was drawn on and with.

Drawings come black on white or white on black, scanned, from a screen or as a photo of a
sheet. Two ways lead to the same map of ink. A picture whose paper has one shade needs two
levels from its histogram. A photo has light that falls off, noise, ruled lines and the
edge of the table: there the paper's shade is estimated around every pixel, and only
connected ink that is dark enough, large enough and away from the picture's edge is kept.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.filters import blurred, boxes_of, connected, median

# Grey levels within which paper, or ink, counts as one shade. A picture with a flat
# background has at least these shares of paper, and of paper and ink together, and little
# in the wider band around the paper's shade.
FLAT, NEAR = 8, 32
MIN_PAPER, MIN_FLAT, MAX_NEAR = 0.25, 0.75, 0.12
# Longer side in pixels below which a picture is no photo.
SMALLEST_PHOTO = 100
# Ink must differ from paper by this many grey levels, or by this share of the light.
MIN_LEVELS = 20
MIN_CONTRAST = 0.1
MIN_NOISES = 8.0
# Soft edge of the ink, in shares of its contrast: 0 below the first, 1 above the second.
# Ruled lines fainter than the first vanish.
SOFT_EDGE = (0.35, 0.65)
# Longer side in pixels to which pictures are shrunk, and cells a side of the paper's map.
WORKING_SIDE = 800
PAPER_CELLS = 40
# A spot is dirt when it has fewer pixels than this, or than this share of the largest's.
MIN_PIXELS, MIN_SPOT = 4, 0.004
# What touches the picture's rim along more than this share of its length is no stroke.
MAX_CONTACT = 0.3


class NoInkError(ValueError):
    """The picture holds nothing that was drawn."""


def find_ink(image: Image.Image) -> NDArray[np.uint8]:
    """Ink (H, W) of a grey picture: 255 where it is, exactly 0 on paper, soft at its edges.

    A large one comes back smaller: its longer side is at most 800.
    """
    longer = max(image.size)
    if longer > WORKING_SIDE:
        size = [max(1, round(side * WORKING_SIDE / longer)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    pixels = np.asarray(image)
    whole = np.array(image.histogram()) / pixels.size
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    # Bold ink may cover half of a picture, but seldom of its rim.
    weighted = whole + np.bincount(rim, minlength=256) / rim.size / 2
    shades = np.flatnonzero(whole)
    if len(shades) == 2 and shades[1] - shades[0] >= MIN_LEVELS:
        drawn = pixels == shades[weighted[shades].argmin()]
        return np.where(drawn, np.uint8(255), np.uint8(0))
    levels = _flat_levels(whole, weighted, max(image.size) < SMALLEST_PHOTO)
    if levels is None:
        return _photographed(pixels.astype(np.float32))
    contrast = (np.arange(256) - levels[0]) / (levels[1] - levels[0])
    ink: NDArray[np.uint8] = _softened(contrast)[np.asarray(image)]
    return ink


def is_light_on_glass(image: Image.Image) -> bool:
    """Whether most of an image with transparency is transparent, and the rest light."""
    grey, alpha = (np.asarray(band, np.float32) for band in image.convert("LA").split())
    return bool(alpha.mean() < 128 and (alpha * grey).sum() > 128 * alpha.sum())


def _flat_levels(
    whole: NDArray[np.float64], weighted: NDArray[np.float64], is_small: bool
) -> tuple[int, int] | None:
    """Grey levels of paper and ink from histograms (256,); None for uneven light."""
    paper = _peak(weighted)
    above = np.arange(256) - paper
    distance = np.abs(above)
    flat = whole[distance <= FLAT].sum()
    near = whole[(distance > FLAT) & (distance <= NEAR)].sum()
    ink = _peak(np.where(distance > NEAR, whole, 0))
    inked = whole[(distance > NEAR) & (np.abs(np.arange(256) - ink) <= FLAT)].sum()
    uneven = flat < MIN_PAPER or flat + inked < MIN_FLAT or near > MAX_NEAR
    if uneven and not is_small:
        return None
    # Ink differs most, shadows and dirt less: the cube tells on which side it is.
    lighter = (whole * above.astype(np.float64) ** 3).sum() > 0
    drawn = np.where((above > FLAT) if lighter else (above < -FLAT), whole, 0)
    if not drawn.any() or distance[drawn > 0].max() < MIN_LEVELS:
        raise NoInkError("no ink: the picture is blank")
    # The shade of full ink: soft edges are left out, then what half of the rest exceeds.
    drawn[distance < distance[drawn > 0].max() / 2] = 0
    order = np.argsort(distance, kind="stable")
    middle = np.searchsorted(np.cumsum(drawn[order]), drawn.sum() / 2)
    return paper, int(order[middle])


def _peak(histogram: NDArray[np.floating]) -> int:
    """The grey level around which most pixels lie, itself the most frequent one there."""
    around = np.convolve(histogram, np.ones(2 * FLAT + 1), "same")
    middle = int(np.argmax(around))
    low = max(0, middle - FLAT)
    return low + int(np.argmax(histogram[low : middle + FLAT + 1]))


def _softened(contrast: NDArray[np.floating]) -> NDArray[np.uint8]:
    low, high = SOFT_EDGE
    ink = np.clip((contrast - low) / (high - low), 0, 1)
    levels: NDArray[np.uint8] = np.rint(255 * ink).astype(np.uint8)
    return levels


def _photographed(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Ink (H, W) of a photo (H, W) in [0, 255]."""
    grey = blurred(grey, 0.7)
    paper = _paper(grey)
    difference = grey - paper
    # Strokes are the rare and strong differences: they decide the sign of the third moment.
    if (difference**3).sum() > 0:
        contrast = difference / (256 - paper)
    else:
        contrast = -difference / np.maximum(paper, 1)
    noise = 1.4826 * float(np.median(np.abs(contrast)))
    full = float(np.quantile(contrast, 0.999))
    drawn = contrast > full / 2
    if drawn.any():
        full = float(np.median(contrast[drawn]))
    if full < max(MIN_CONTRAST, MIN_NOISES * noise):
        raise NoInkError("no ink: nothing stands out from the paper")
    ink = _softened(contrast / full)
    ink[~_strokes(ink)] = 0
    if not ink.any():
        raise NoInkError("no ink: nothing but specks and the picture's edge")
    return ink


def _paper(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The paper's shade (H, W) around every pixel: medians, then means without ink."""
    height, width = grey.shape
    cell = max(1, round(max(height, width) / PAPER_CELLS))
    image = Image.fromarray(grey)
    coarse = np.asarray(image.reduce(cell))
    window = max(3, min(coarse.shape) // 3)
    coarse = median(coarse, window)
    paper = _enlarged(coarse, width, height)
    difference = np.abs(grey - paper)
    blank = (difference < 2.5 * np.median(difference) + 4).astype(np.float32)
    shades = np.asarray(Image.fromarray(grey * blank).reduce(cell))
    weights = np.asarray(Image.fromarray(blank).reduce(cell))
    shades, weights = blurred(shades, 1.5, "edge"), blurred(weights, 1.5, "edge")
    # Where all is ink the medians stand.
    known = weights > 0.02
    coarse = np.where(known, shades / np.maximum(weights, 0.02), coarse)
    return _enlarged(coarse, width, height)


def _enlarged(coarse: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _strokes(ink: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels belong to strokes: no specks, no faint lines, no edge of the sheet."""
    spots = connected(ink > 0)
    boxes = boxes_of(spots)
    areas = np.bincount(spots[ink == 255], minlength=len(boxes) + 1)[1:]
    # A table or a shadow runs along the picture's rim; a stroke only meets it.
    rim = np.concatenate([spots[0], spots[-1], spots[1:-1, 0], spots[1:-1, -1]])
    contact = np.bincount(rim, minlength=len(boxes) + 1)[1:]
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    areas[contact > MAX_CONTACT * sides] = 0
    kept = areas > max(MIN_PIXELS, MIN_SPOT * areas.max(initial=0))
    drawn: NDArray[np.bool_] = np.concatenate([[False], kept])[spots]
    return drawn
