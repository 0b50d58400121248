"""Explanations: which parts of two pictures make a model find them alike, or different.

A window slides over one picture and covers what lies under it, with paper where the picture
is a drawing and with a blur where it is a photograph, while the other picture stays whole.
Where the score falls, the covered part made the two alike; where it rises, it set them
apart. Only scores are asked of the model, so every encoder and every similarity is
explained in the same way.

Reference:
    Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.comparison import Comparison
from onelook.data.inputs import Item
from onelook.data.inputs.decoding import name_of
from onelook.data.inputs.filters import blurred, least_around
from onelook.errors import DataError
from onelook.familiarity import Reason, of_both
from onelook.report.pictures import MUTED, Picture, draw_columns, tint
from onelook.verifier import Verifier

# Sides of the windows as shares of the picture's sides, and their step as a share of a
# window. Chosen among windows of 0.35 to 0.15, random masks (RISE) and integrated
# gradients on 40 pairs each of Omniglot's background set and LFW's View 1: random masks do
# as well in 3 to 8 times the time; gradients do better on faces and worst on drawings.
WINDOWS = (0.25, 0.15)
STEP = 0.5
# Spread of the heat-maps, as a share of the picture's side: hides the windows' edges.
SMOOTHING = 1 / 32
# A picture is a drawing on paper if this share of it has one shade, within these levels.
PAPER_SHARE, SAME_SHADE = 0.5, 8
# A pixel that differs from paper by this many grey levels counts fully as ink.
FULL_INK = 64
# Longer side in pixels of the pictures that an embedding function is asked about.
LONGEST_SIDE = 384
BATCH_VALUES, LARGEST_BATCH = 2_000_000, 64
ALIKE, APART = "#1f6f9f", "#c2512b"


@dataclass(frozen=True, eq=False)
class Side:
    """One picture of a pair and its heat-maps.

    ``picture`` is (H, W) or (H, W, 3) uint8: what the network sees, as a person sees it
    (framed, aligned, dark ink on light paper). The heat-maps are (H, W) float32 in [0, 1],
    all four of a pair on one scale: 1 marks the part that moves the score most.
    """

    picture: Picture
    alike: NDArray[np.float32]
    apart: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The answer for a pair, and where in the pictures it comes from.

    A side that is not a picture (strokes) is None.
    """

    comparison: Comparison
    left: Side | None
    right: Side | None


def explain(verifier: Verifier, left: Item, right: Item) -> Explanation:
    """Heat-maps over two pictures: what makes them alike, and what sets them apart."""
    names = ("left", "right")
    pictured = [side for side in names if verifier.input_of(side).subject]
    if not pictured:
        raise DataError(
            f"{verifier.name} does not compare pictures, so there is nothing to draw a "
            "heat-map on; give a model of images with --model (in Python: another verifier)"
        )
    loaded = {
        side: verifier.input_of(side).load(item, f"{side} image")
        for side, item in zip(names, (left, right), strict=True)
    }
    embeddings = {side: verifier.embed_loaded([loaded[side]], side) for side in names}
    score = float(verifier.score(embeddings["left"], embeddings["right"])[0])
    reason: Reason = None
    if verifier.shared:
        both = [loaded[side] for side in names], np.concatenate([*embeddings.values()])
        reason = of_both(*verifier.reasons(*both, ["the left image", "the right image"]))
    effects = {}
    for side in pictured:
        if verifier.input_of(side).input_shape is None:
            loaded[side] = _smaller(loaded[side])
        other = embeddings["right" if side == "left" else "left"]
        effects[side] = explain_pixels(verifier, loaded[side], other, side)
    largest = max(float(np.abs(effect).max()) for effect in effects.values()) or 1.0
    sides = {}
    for side, effect in effects.items():
        picture = verifier.input_of(side).picture(loaded[side])
        assert picture is not None  # this side takes pictures
        heat = np.clip(effect / largest, 0, 1), np.clip(-effect / largest, 0, 1)
        sides[side] = Side(picture, *heat)
    called = name_of(left, "left image"), name_of(right, "right image")
    answer = verifier.judge(*called, score, reason)
    return Explanation(answer, sides.get("left"), sides.get("right"))


def draw_explanation(explanation: Explanation, path: str | Path) -> Path:
    """Draw the pair, what makes it alike and what sets it apart, side by side."""
    sides = [side for side in (explanation.left, explanation.right) if side is not None]
    alike = [tint(side.picture, side.alike, ALIKE) for side in sides]
    apart = [tint(side.picture, side.apart, APART) for side in sides]
    columns = [
        ("what the network sees", [side.picture for side in sides], MUTED),
        ("makes them alike", alike, ALIKE),
        ("sets them apart", apart, APART),
    ]
    return draw_columns(columns, str(explanation.comparison), path)


def explain_pixels(
    verifier: Verifier, pixels: NDArray[np.uint8], other: NDArray[np.float32], side: str
) -> NDArray[np.float32]:
    """How far each part of a picture raises (> 0) or lowers (< 0) a pair's score, (H, W).

    ``pixels`` (C, H, W) are those on ``side``; ``other`` (1, D) is the other embedding.
    """

    def score(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        embeddings = verifier.embed_loaded(pictures, side)
        pair = embeddings, np.repeat(other, len(embeddings), 0)
        return verifier.score(*(pair if side == "left" else pair[::-1]))

    paper = _paper_of(pixels)
    cover = np.full_like(pixels, paper) if paper is not None else _blurred(pixels)
    height, width = pixels.shape[1:]
    effect = np.zeros((height, width), np.float32)
    for share in WINDOWS:
        window = max(2, round(share * height)), max(2, round(share * width))
        steps = max(1, int(STEP * window[0])), max(1, int(STEP * window[1]))
        # A larger window changes more: each counts by what it changes along its side.
        fall = occlusion(score, pixels, cover, window, steps)
        effect += fall / math.sqrt(window[0] * window[1])
    heat: NDArray[np.float32] = blurred(effect, SMOOTHING * min(height, width))
    if paper is not None:  # only ink is marked, and what lies within a pixel of it
        ink = np.minimum(np.abs(pixels.mean(0) - paper) / FULL_INK, 1)
        heat *= (-least_around(-ink, 1)).astype(np.float32)
    return heat


def occlusion(
    score: Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    cover: NDArray[np.uint8],
    window: tuple[int, int],
    steps: tuple[int, int],
) -> NDArray[np.float32]:
    """How far the score falls on average where a window covers each place, (H, W).

    ``score`` maps N pictures (C, H, W) to (N,); the window shows ``cover`` (C, H, W); it is
    (height, width) pixels large and moves by ``steps`` (down, across).
    """
    tops, lefts = (
        [step * i for i in range(math.ceil(max(length - size, 0) / step) + 1)]
        for length, size, step in zip(pixels.shape[1:], window, steps, strict=True)
    )
    places = [
        (slice(top, top + window[0]), slice(left, left + window[1]))
        for top, left in product(tops, lefts)
    ]
    whole = score([pixels])[0]
    total, count = np.zeros((2, *pixels.shape[1:]), np.float32)
    batch = min(LARGEST_BATCH, max(1, BATCH_VALUES // pixels.size))
    for start in range(0, len(places), batch):
        covered = []
        for place in places[start : start + batch]:
            covered.append(pixels.copy())
            covered[-1][:, *place] = cover[:, *place]
        for place, changed in zip(places[start:], score(covered), strict=False):
            total[place] += whole - changed
            count[place] += 1
    mean: NDArray[np.float32] = total / count
    return mean


def _smaller(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (C, H, W) of a picture with a longer side of at most ``LONGEST_SIDE``."""
    image = _image(pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return _pixels(image)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    """A PIL image of pixels (C, H, W)."""
    values = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2)
    return Image.fromarray(np.ascontiguousarray(values))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels (C, H, W) of a PIL image."""
    return np.moveaxis(np.atleast_3d(np.asarray(image)), 2, 0)


def _paper_of(pixels: NDArray[np.uint8]) -> int | None:
    """Grey level of the paper under pixels (C, H, W) of a drawing; None: a photograph."""
    grey = pixels.mean(0).astype(np.uint8)
    shades = np.bincount(grey.ravel(), minlength=256)
    paper = int(shades.argmax())
    around = shades[max(0, paper - SAME_SHADE) : paper + SAME_SHADE + 1].sum()
    return paper if around >= PAPER_SHARE * grey.size else None


def _blurred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph (C, H, W) of which only light and colour are left."""
    image = _image(pixels)
    coarse = image.resize((6, 6), Image.Resampling.BOX)
    return _pixels(coarse.resize(image.size, Image.Resampling.BICUBIC))
