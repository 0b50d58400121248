"""Pictures, drawings and a model for visits to the page."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from onelook.data.sources.omniglot import omniglot
from onelook.decision import IdentifyRow, fit_decision
from onelook.loading import load
from onelook.verifier import Verifier

# Strokes as shares of a sheet's sides: an arch with a bar, and a zigzag.
ARCH = [[(0.3, 0.8), (0.3, 0.25), (0.7, 0.25), (0.7, 0.8)], [(0.3, 0.55), (0.7, 0.55)]]
ZIGZAG = [[(0.2, 0.3), (0.8, 0.3), (0.25, 0.75), (0.8, 0.75)]]

# Scores whose curves the page draws, so that a test can count errors itself.
_rng = np.random.default_rng(0)
SAME_SCORES = _rng.normal(0.8, 0.1, 20_000).clip(-1, 1)
DIFFERENT_SCORES = _rng.normal(0.15, 0.2, 20_000).clip(-1, 1)


def model_of_pages() -> Verifier:
    """The shipped drawings' model and threshold, with the curves of those scores."""
    verifier = load("omniglot")
    scores = np.concatenate([SAME_SCORES, DIFFERENT_SCORES])
    is_same = np.arange(len(scores)) < len(SAME_SCORES)
    assert verifier.decision is not None
    verifier.decision = dataclasses.replace(
        verifier.decision,
        curves=fit_decision(scores, is_same, n_classes=100).curves,
        identify=(IdentifyRow(1, 0.7, 0.01, 0.9), IdentifyRow(1000, 0.78, 0.01, 0.8)),
    )
    return verifier


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def sheet(*strokes: list[tuple[float, float]], side: int = 105, tilt: float = 0) -> bytes:
    """A PNG of strokes, its verticals leaning by ``tilt`` of its side."""
    image = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        points = [((x + tilt * (0.5 - y)) * side, y * side) for x, y in stroke]
        pen.line(points, fill=0, width=max(1, side // 20))
    return png(image)


def polygon(seed: int) -> bytes:
    """A PNG of a closed line with corners of its own."""
    corners = [
        tuple(point) for point in np.random.default_rng(seed).uniform(0.1, 0.9, (6, 2))
    ]
    return sheet([*corners, corners[0]])


def drawings(root: Path, alphabet: str, character: str) -> list[str]:
    """Addresses of the 20 drawings of one of Omniglot's evaluation characters."""
    place = f"/{alphabet}/{character}/"
    return [path for path in omniglot(root, "evaluation").paths if place in path]
