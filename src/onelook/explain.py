"""Explanations: which parts of two pictures made a network call them alike, or told them
apart.

A window slides over one picture and covers what lies under it, with paper where the picture
is a drawing and with a blur where it is a photograph, while the other picture stays whole.
Where the score falls, the covered part had made the two alike; where it rises, it had told
them apart. Nothing but scores is asked of the network, so every encoder and every
similarity is explained in the same way.

Reference:
    Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from onelook.comparison import Comparison
from onelook.data.inputs.images import Preprocess
from onelook.errors import DataError
from onelook.files import write_whole
from onelook.report.pictures import Captioned, check_ending, render_columns, tint
from onelook.verifier import Originals, Verifier

Picture = NDArray[np.uint8]  # (H, W) or (H, W, 3)
Item = str | Path | bytes

# Sides of the windows, as shares of the picture's, and their step as a share of a window.
# Chosen among windows of 0.35 to 0.15, random masks (RISE) and integrated gradients, on 40
# pairs each of Omniglot's background set and LFW's View 1: random masks mark as well for 3
# to 8 times the time, gradients better on faces and worst on drawings, pixel by pixel.
WINDOWS = (0.25, 0.15)
STEP = 0.5
# Spread of the heat-maps, as a share of the picture's side: hides the windows' edges.
SMOOTHING = 1 / 32
# A picture of which this share has one shade, give or take, is a drawing on paper.
PAPER_SHARE, SAME_SHADE = 0.5, 8
# Difference from paper, in grey levels, from which a pixel counts as ink in full.
FULL_INK = 64
# Longer side of the picture that an embedding function is asked about, in pixels.
LONGEST_SIDE = 384
BATCH_VALUES, LARGEST_BATCH = 2_000_000, 64
ALIKE, APART = "#1f6f9f", "#c2512b"


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What a network says of a pair, and where in the pictures it has that from.

    Pictures are (H, W) or (H, W, 3) uint8: what the network sees, as a person sees it
    (framed, aligned, dark ink on light paper). Heat-maps are (H, W) float32 in [0, 1], all
    four on one scale: 1 is the part that moves the score most. A side that is no picture
    (strokes) has None in all three places.
    """

    comparison: Comparison
    left_picture: Picture | None
    right_picture: Picture | None
    left_alike: NDArray[np.float32] | None
    right_alike: NDArray[np.float32] | None
    left_apart: NDArray[np.float32] | None
    right_apart: NDArray[np.float32] | None


def explain(verifier: Verifier, left: Item, right: Item) -> Explanation:
    """Why a network finds two pictures alike or different: heat-maps over both.

    Args:
        verifier: Any verifier of which at least one side takes pictures.
        left: A file, or the bytes of one.
        right: The same; a file of strokes where that is the model's right side.

    Raises:
        DataError: If one cannot be read, or the model compares no pictures.
    """
    kinds = [_takes_pictures(verifier, side) for side in ("left", "right")]
    if not any(kinds):
        raise DataError(
            f"{verifier.name} compares no pictures, so there is nothing to draw a heat-map "
            "on; give a model of images with --model (in Python: another verifier)"
        )
    embeddings = [_embed(verifier, left, "left"), _embed(verifier, right, "right")]
    score = float(verifier.score(*embeddings)[0])
    answer = verifier.judge(_name(left, "left"), _name(right, "right"), score)
    sides = [
        _explain_side(verifier, item, side, other) if is_picture else None
        for item, side, other, is_picture in zip(
            (left, right), ("left", "right"), embeddings[::-1], kinds, strict=True
        )
    ]
    largest = max(float(np.abs(side[1]).max()) for side in sides if side is not None)
    shown = [_shown(side, largest) for side in sides]
    (left_picture, *left_maps), (right_picture, *right_maps) = shown
    return Explanation(
        answer, left_picture, right_picture, *_crossed(left_maps, right_maps)
    )


def draw_explanation(explanation: Explanation, path: str | Path) -> Path:
    """Draw the pair, what made it alike and what told it apart, side by side.

    Args:
        explanation: From ``explain``.
        path: Ends in ``.png``, ``.jpg``, ``.webp``, ``.pdf`` or ``.svg``.

    Raises:
        ValueError: If the ending is no known kind of picture.
    """
    return write_whole(Path(path), _render(explanation, check_ending(path)))


def explanation_png(explanation: Explanation) -> bytes:
    """What ``draw_explanation`` draws, as the bytes of a PNG."""
    return _render(explanation, "png")


def _render(explanation: Explanation, kind: str) -> bytes:
    sides = [
        (explanation.left_picture, explanation.left_alike, explanation.left_apart),
        (explanation.right_picture, explanation.right_alike, explanation.right_apart),
    ]
    seen = [(p, alike, apart) for p, alike, apart in sides if p is not None]
    columns = [
        Captioned("what the network sees", [picture for picture, _, _ in seen]),
        Captioned("made them alike", [tint(p, _map(m), ALIKE) for p, m, _ in seen], ALIKE),
        Captioned("told them apart", [tint(p, _map(m), APART) for p, _, m in seen], APART),
    ]
    return render_columns(columns, str(explanation.comparison), kind)


def _map(heat: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert heat is not None  # a side with a picture has both maps
    return heat


def _takes_pictures(verifier: Verifier, side: str) -> bool:
    return isinstance(verifier.preprocess_of(side), Preprocess | Originals)


def _name(item: Item, side: str) -> str:
    return f"{side} image" if isinstance(item, bytes) else str(item)


def _embed(verifier: Verifier, item: Item, side: str) -> NDArray[np.float32]:
    """The embedding (1, D) of one item."""
    if isinstance(item, bytes):
        return verifier.embed_bytes([item], side, [_name(item, side)])
    return verifier.embed([item], side)


def _explain_side(
    verifier: Verifier, item: Item, side: str, other: NDArray[np.float32]
) -> tuple[Picture, NDArray[np.float32]]:
    """The picture, and how far each part of it raises (> 0) or lowers the score, (H, W)."""
    preprocess = verifier.preprocess_of(side)
    pixels = _pixels(preprocess, item, _name(item, side))  # (C, H, W)
    inverted = isinstance(preprocess, Preprocess) and preprocess.settings.invert
    upright = 255 - pixels if inverted else pixels
    effect = explain_pixels(verifier, pixels, other, side)
    return np.squeeze(np.moveaxis(upright, 0, 2)), effect


def explain_pixels(
    verifier: Verifier, pixels: NDArray[np.uint8], other: NDArray[np.float32], side: str
) -> NDArray[np.float32]:
    """How far each part of a picture raises (> 0) or lowers (< 0) a pair's score, (H, W).

    Args:
        verifier: Its ``side`` takes pictures.
        pixels: (C, H, W) uint8, as the network's preprocessing gives them.
        other: (1, D) embedding of what the picture is compared with.
        side: The side that the picture stands on, ``"left"`` or ``"right"``.
    """
    from captum.attr import Occlusion

    score = _score_of(verifier, other, side)
    paper = _paper_of(pixels)
    cover = np.full_like(pixels, paper) if paper is not None else _blurred(pixels)
    inputs, covers = (
        torch.from_numpy(values.astype(np.float32))[None].to(verifier.device)
        for values in (pixels, cover)
    )
    channels, height, width = pixels.shape
    effect = np.zeros((height, width), np.float32)
    batch = min(LARGEST_BATCH, max(1, BATCH_VALUES // pixels.size))
    for share in WINDOWS:
        window = [max(2, round(share * length)) for length in (height, width)]
        steps = [max(1, int(STEP * length)) for length in window]
        changes = Occlusion(score).attribute(
            inputs,
            sliding_window_shapes=(channels, *window),
            strides=(channels, *steps),
            baselines=covers,
            perturbations_per_eval=batch,
        )  # (1, C, H, W), the same in every channel
        # A larger window changes more: each counts by what it changes along its side.
        effect += changes[0, 0].float().cpu().numpy() / np.sqrt(window[0] * window[1])
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        effect, SMOOTHING * min(height, width)
    )
    return smooth if paper is None else smooth * _ink(pixels, paper)


def _score_of(
    verifier: Verifier, other: NDArray[np.float32], side: str
) -> Callable[[Tensor], Tensor]:
    """Pixels (N, C, H, W) in [0, 255] to scores (N,) with the other side's embedding."""
    fixed = torch.from_numpy(other).to(verifier.device)
    model, preprocess = verifier.model, verifier.preprocess_of(side)

    @torch.inference_mode()
    def score(images: Tensor) -> Tensor:
        inputs: Any = images
        if isinstance(preprocess, Preprocess):
            inputs = preprocess.normalize(images / 255)
        else:
            inputs = [_image(pixels) for pixels in images.byte().cpu().numpy()]
        embeddings = model.encode(inputs, side).to(fixed.device)  # (N, D)
        others = fixed.expand(len(embeddings), -1)
        pair = (embeddings, others) if side == "left" else (others, embeddings)
        scores: Tensor = model.similarity(*pair)
        return scores.float()

    return score


def _pixels(preprocess: Any, item: Item, name: str) -> NDArray[np.uint8]:
    """(C, H, W) as the encoder takes them; an image for a function is made smaller."""
    if isinstance(item, bytes):
        loaded = preprocess.load_bytes(item, name)
    else:
        loaded = preprocess.load_many([str(item)])[0]
    if not isinstance(loaded, Image.Image):
        pixels: NDArray[np.uint8] = np.asarray(loaded)
        return pixels
    if max(loaded.size) > LONGEST_SIDE:
        loaded = loaded.copy()
        loaded.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    values = np.asarray(loaded)
    return values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    """A PIL image of pixels (C, H, W)."""
    if len(pixels) == 1:
        return Image.fromarray(pixels[0])
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, 2)))


def _paper_of(pixels: NDArray[np.uint8]) -> int | None:
    """Grey level of the paper under pixels (C, H, W) of a drawing; None: a photograph."""
    grey = pixels.mean(0).astype(np.uint8)
    shades = np.bincount(grey.ravel(), minlength=256)
    paper = int(shades.argmax())
    around = shades[max(0, paper - SAME_SHADE) : paper + SAME_SHADE + 1].sum()
    return paper if around >= PAPER_SHARE * grey.size else None


def _ink(pixels: NDArray[np.uint8], paper: int) -> NDArray[np.float32]:
    """How much each place (H, W) belongs to what is drawn, in [0, 1], a pixel wider."""
    contrast = np.abs(pixels.mean(0) - paper) / FULL_INK
    wider: NDArray[np.float32] = ndimage.maximum_filter(np.minimum(contrast, 1), 3)
    return wider.astype(np.float32)


def _blurred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph (C, H, W) of which only light and colour are left."""
    image = _image(pixels)
    coarse = image.resize((6, 6), Image.Resampling.BOX)
    blurred = np.asarray(coarse.resize(image.size, Image.Resampling.BICUBIC))
    return blurred[None] if blurred.ndim == 2 else np.moveaxis(blurred, 2, 0)


def _shown(
    side: tuple[Picture, NDArray[np.float32]] | None, largest: float
) -> tuple[Picture | None, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Picture, alike and apart of one side, as shares of the largest effect of the pair."""
    if side is None:
        return None, None, None
    picture, effect = side
    share = effect / (largest or 1.0)
    return picture, np.clip(share, 0, 1), np.clip(0 - share, 0, 1)


def _crossed(left: list[Any], right: list[Any]) -> tuple[Any, Any, Any, Any]:
    """Left alike, right alike, left apart, right apart."""
    return left[0], right[0], left[1], right[1]
