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
from scipy import ndimage

# Grey levels within which paper counts as one shade, and the wider band around them that
# stays nearly empty on a picture with a flat background.
FLAT, NEAR = 8, 32
MIN_FLAT_SHARE, MAX_NEAR_SHARE = 0.5, 0.12
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
# A spot of less than this share of the largest stroke's area is dirt.
MIN_SPOT = 0.004


class NoInkError(ValueError):
    """The picture holds nothing that was drawn."""


def find_ink(image: Image.Image) -> NDArray[np.uint8]:
    """Ink (H, W) of a grey picture: 255 where it is, exactly 0 on paper, soft at its edges.

    Args:
        image: Mode L. A large one comes back smaller: its longer side is at most 800.

    Raises:
        NoInkError: If the picture is blank.
    """
    longer = max(image.size)
    if longer > WORKING_SIDE:
        size = [max(1, round(side * WORKING_SIDE / longer)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    levels = _flat_levels(image)
    if levels is not None:
        return _between(image, *levels)
    return _photographed(np.asarray(image, dtype=np.float32))


def _flat_levels(image: Image.Image) -> tuple[int, int] | None:
    """Grey levels of paper and ink; None where the background is not flat."""
    pixels = np.asarray(image)
    whole = np.array(image.histogram()) / pixels.size
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    # Bold ink may cover half of a picture, but seldom of its rim.
    both = whole + np.bincount(rim, minlength=256) / rim.size
    shades = np.flatnonzero(whole)
    if len(shades) == 2 and shades[1] - shades[0] >= MIN_LEVELS:
        paper, ink = shades if both[shades[0]] > both[shades[1]] else shades[::-1]
        return int(paper), int(ink)
    sums = np.concatenate([[0.0], np.cumsum(both)])
    steps = np.arange(256)
    low, high = np.maximum(steps - FLAT, 0), np.minimum(steps + FLAT + 1, 256)
    paper = int(np.argmax(sums[high] - sums[low] + both))
    sums = np.concatenate([[0.0], np.cumsum(whole)])

    def share(start: int, stop: int) -> float:
        return float(sums[min(max(stop, 0), 256)] - sums[min(max(start, 0), 256)])

    flat = share(paper - FLAT, paper + FLAT + 1)
    near = share(paper - NEAR, paper + NEAR + 1) - flat
    darker, lighter = share(0, paper - FLAT), share(paper + FLAT + 1, 256)
    if flat < MIN_FLAT_SHARE * (1 - max(darker, lighter)) or near > MAX_NEAR_SHARE:
        return None
    distance = np.abs(steps - paper)
    side = (steps < paper) if darker > lighter else (steps > paper)
    drawn = np.where(side & (distance > FLAT), whole, 0)
    if not drawn.any() or distance[drawn > 0].max() < MIN_LEVELS:
        raise NoInkError("no ink: the picture is blank")
    # The shade of full ink: soft edges are left out, then what half of the rest exceeds.
    deepest = distance[drawn > 0].max()
    drawn[distance < deepest / 2] = 0
    ordered = np.argsort(distance, kind="stable")
    reached = np.searchsorted(np.cumsum(drawn[ordered]), drawn.sum() / 2)
    return paper, int(ordered[reached])


def _between(image: Image.Image, paper: int, ink: int) -> NDArray[np.uint8]:
    """Each grey level's place between paper (0) and ink (255), with a soft edge."""
    contrast = (np.arange(256) - paper) / (ink - paper)
    return np.asarray(image.point(_softened(contrast).tolist()))


def _softened(contrast: NDArray[np.floating]) -> NDArray[np.uint8]:
    low, high = SOFT_EDGE
    ink = np.clip((contrast - low) / (high - low), 0, 1)
    levels: NDArray[np.uint8] = np.rint(255 * ink).astype(np.uint8)
    return levels


def _photographed(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Ink (H, W) of a photo (H, W) in [0, 255]."""
    grey = ndimage.gaussian_filter(grey, 0.7)
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
    coarse = ndimage.median_filter(coarse, size=window, mode="nearest")
    paper = _enlarged(coarse, width, height)
    difference = np.abs(grey - paper)
    blank = (difference < 2.5 * np.median(difference) + 4).astype(np.float32)
    shades = np.asarray(Image.fromarray(grey * blank).reduce(cell))
    weights = np.asarray(Image.fromarray(blank).reduce(cell))
    spread = 1.5
    shades = ndimage.gaussian_filter(shades, spread, mode="nearest")
    weights = ndimage.gaussian_filter(weights, spread, mode="nearest")
    # Where all is ink the medians stand.
    known = weights > 0.02
    coarse = np.where(known, shades / np.maximum(weights, 0.02), coarse)
    return _enlarged(coarse, width, height)


def _enlarged(coarse: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _strokes(ink: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels belong to strokes: no specks, no faint lines, nothing cut by the rim."""
    spots, n_spots = ndimage.label(ink > 0, structure=np.ones((3, 3)))
    numbers = np.arange(1, n_spots + 1)
    areas = ndimage.sum_labels(ink == 255, spots, numbers)
    rim = np.concatenate([spots[0], spots[-1], spots[:, 0], spots[:, -1]])
    inside = ~np.isin(numbers, rim)
    # Where all that is large lies at the rim, the drawing does.
    if areas[inside].sum() < 0.2 * areas.sum():
        inside[:] = True
    largest = areas[inside].max(initial=0)
    kept = inside & (areas > max(3, MIN_SPOT * largest))
    drawn: NDArray[np.bool_] = np.concatenate([[False], kept])[spots]
    return drawn
