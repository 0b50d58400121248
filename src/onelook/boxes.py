"""Boxes: parts of a picture that may each show one thing.

Where they come from depends on what the model compares. A detector finds faces, which are
turned upright; on a sheet of drawings connected strokes are grouped; anything else is
searched through windows of several sizes.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs import FaceInput, Input, input_from_dict
from onelook.data.inputs.faces import detect
from onelook.data.inputs.filters import boxes_of, connected
from onelook.data.inputs.ink import NoInkError, find_ink
from onelook.errors import OnelookError, UnfitError
from onelook.verifier import Verifier

Picture = NDArray[np.uint8]  # (H, W) or (H, W, 3)
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
PixelBox = tuple[int, int, int, int]  # the same, of the picture that is searched
How = Literal["faces", "components", "windows"]

# Work is bounded: pictures are shrunk, and of many boxes only the largest are compared.
LONGEST_SIDE = {"faces": 2000, "windows": 1024}
MOST_BOXES = 600

# The smallest face looked for, in pixels and as a share of the picture's shorter side.
SMALLEST_FACE, SMALLEST_FACE_SHARE = 40, 1 / 16
# The part of an aligned face that is shown to a model trained on the middles of LFW's
# photographs: of shares from 0.75 to 1.05 the one with the best AUC on View 1's training
# pairs, nearly that of LFW's own alignment.
LFW_SHARE, LFW_ABOVE = 0.95, 0.08

# Strokes are grouped across gaps of up to this many times the median stroke's length;
# groups smaller than this many pixels are no drawings.
WIDEST_GAP, SMALLEST_DRAWING = 1.0, 10
# Paper around a group, as a share of its longer side.
PAPER = 0.25

# Two boxes show the same thing if they share more than this part of the smaller one.
SAME_PLACE = 0.5

# Sizes of windows as shares of the largest that fits, and their step as a share of one.
SCALES, STEP = (1.0, 0.7, 0.5, 0.35, 0.25), 0.25
# Sizes of the windows that are tried around good ones, relative to them.
NEAR_SCALES = (0.84, 1.0, 1.19)


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A box of the picture, and a function that loads it as the model's input does."""

    box: Box
    load: Callable[[], Any]


def propose(
    verifier: Verifier, picture: Image.Image, ratio: float, name: str
) -> tuple[How, list[Proposal], FaceInput | None]:
    """Where boxes come from, the boxes, and for faces the input that frames them.

    Windows have a fixed shape; ``ratio`` (width / height) is theirs for a model that takes
    pictures of any shape.
    """
    taken = verifier.right_input
    if taken.subject == "drawing":
        return "components", list(_components(taken, picture, name)), None
    faces = None
    if taken.subject == "face":
        faces = FaceInput.from_dict(taken.to_dict())
    elif verifier.card.subject == "face":
        framed = {"crop": 0.0, "without_face": "refuse"}
        framed |= {"share": LFW_SHARE, "above": LFW_ABOVE}
        # Without a detector, or for a grey model, windows are searched.
        with contextlib.suppress(OnelookError, ValueError):
            faces = FaceInput.from_dict({**taken.to_dict(), **framed})
    if faces is not None:
        return "faces", list(_faces(faces, picture)), faces
    return "windows", _windows(taken, picture, ratio), None


def _faces(faces: FaceInput, picture: Image.Image) -> Iterator[Proposal]:
    small, zoom = _smaller(picture.convert("RGB"), LONGEST_SIDE["faces"])
    photograph = np.asarray(small)
    smallest = max(SMALLEST_FACE, SMALLEST_FACE_SHARE * min(small.size))
    for face in detect(photograph, smallest)[:MOST_BOXES]:
        yield Proposal(
            _enlarged(face[:4], zoom), partial(faces.load_face, photograph, face)
        )


def _components(taken: Input, picture: Image.Image, name: str) -> Iterator[Proposal]:
    """Groups of connected strokes, from single strokes to groups with wide gaps.

    All groups of the single-linkage tree of the strokes' boxes are proposed; the comparison
    decides which of them is a drawing.
    """
    try:
        ink = find_ink(picture.convert("L"))
    except NoInkError as error:
        raise UnfitError(f"{name}: {error}; give a picture with drawings") from error
    spots = connected(ink > 0)
    edges = boxes_of(spots)  # (N, 4), spot 1 first
    sides = (edges[:, 2:] - edges[:, :2]).max(1)
    kept = np.sort(np.argsort(-sides, kind="stable")[: MOST_BOXES // 2])
    for members in _groups(edges[kept], WIDEST_GAP * float(np.median(sides[kept]))):
        group = kept[members]
        left, top = edges[group, :2].min(0).tolist()
        right, bottom = edges[group, 2:].max(0).tolist()
        if max(right - left, bottom - top) < SMALLEST_DRAWING:
            continue
        place = (slice(top, bottom), slice(left, right))
        yield Proposal(
            _enlarged((left, top, right, bottom), picture.width / ink.shape[1]),
            partial(_load_drawing, taken, ink[place], spots[place], group + 1),
        )


def _groups(edges: NDArray[np.int64], widest: float) -> Iterator[NDArray[np.int64]]:
    """Members of every group of boxes (N, 4) with gaps of at most ``widest`` inside."""
    groups = [np.array([i]) for i in range(len(edges))]
    yield from groups
    low, high = edges[:, :2], edges[:, 2:]
    a, b = np.triu_indices(len(edges), 1)
    gaps = np.maximum(np.maximum(low[a] - high[b], low[b] - high[a]), 0)  # (pairs, 2)
    distances = np.linalg.norm(gaps, axis=1)
    for i in np.argsort(distances, kind="stable")[: np.count_nonzero(distances <= widest)]:
        if groups[a[i]] is not groups[b[i]]:  # they are joined, nearest first
            joined = np.concatenate([groups[a[i]], groups[b[i]]])
            for member in joined:
                groups[member] = joined
            yield joined


def _load_drawing(
    taken: Input, ink: Picture, spots: NDArray[np.int64], members: NDArray[np.int64]
) -> Any:
    """The ink of a group alone, dark on light, as the network sees it."""
    alone = np.where(np.isin(spots, members), ink, 0)
    return taken.load(255 - np.pad(alone, max(4, round(PAPER * max(alone.shape)))))


def _windows(taken: Input, picture: Image.Image, ratio: float) -> list[Proposal]:
    """Windows of several sizes, of the shape that the network sees."""
    if taken.input_shape is not None:
        ratio = taken.input_shape[2] / taken.input_shape[1]
    small, zoom = _smaller(picture, LONGEST_SIDE["windows"])
    step = STEP
    while len(boxes := _window_boxes(small.size, ratio, step)) > MOST_BOXES:
        step *= 1.2
    return _of_windows(taken, small, zoom, boxes)


def windows_near(
    taken: Input, picture: Image.Image, boxes: Sequence[Box], share: float
) -> list[Proposal]:
    """Windows beside others by a share of their size, larger and smaller."""
    small, zoom = _smaller(picture, LONGEST_SIDE["windows"])
    near: dict[PixelBox, None] = {}
    for left, top, right, bottom in boxes:
        centre = (left + right) / 2 / zoom, (top + bottom) / 2 / zoom
        width, height = (right - left) / zoom, (bottom - top) / zoom
        for scale, right_by, down_by in product(NEAR_SCALES, (-1, 0, 1), (-1, 0, 1)):
            w, h = round(scale * width), round(scale * height)
            x = round(centre[0] + right_by * share * width - w / 2)
            y = round(centre[1] + down_by * share * height - h / 2)
            is_new = (scale, right_by, down_by) != (1.0, 0, 0) and min(w, h) > 1
            is_inside = min(x, y) >= 0 and x + w <= small.width and y + h <= small.height
            if is_new and is_inside:
                near[x, y, x + w, y + h] = None
    return _of_windows(taken, small, zoom, near)


def _of_windows(
    taken: Input, small: Image.Image, zoom: float, boxes: Iterable[PixelBox]
) -> list[Proposal]:
    # A window is shown whole, without the cut to the middle that a model may make.
    whole = input_from_dict({**taken.to_dict(), "crop": 0.0})
    return [
        Proposal(_enlarged(box, zoom), partial(_load_window, whole, small, box))
        for box in boxes
    ]


def _load_window(taken: Input, picture: Image.Image, box: PixelBox) -> Any:
    return taken.load(picture.crop(box))


def _window_boxes(size: tuple[int, int], ratio: float, step: float) -> list[PixelBox]:
    width, height = size
    widest = min(width, height * ratio)
    boxes = []
    for scale in SCALES:
        w = min(width, max(1, round(scale * widest)))
        h = min(height, max(1, round(scale * widest / ratio)))
        for top in _places(height, h, step):
            boxes += [(x, top, x + w, top + h) for x in _places(width, w, step)]
    return list(dict.fromkeys(boxes))


def _places(length: int, window: int, step: float) -> list[int]:
    """Starts of windows, evenly spaced from one end to the other."""
    free = length - window
    n_steps = int(np.ceil(free / (step * window)))
    return [round(float(place)) for place in np.linspace(0, free, n_steps + 1)]


def _smaller(picture: Image.Image, longest: int) -> tuple[Image.Image, float]:
    """The picture, its longer side at most ``longest``, and the factor back to its size."""
    zoom = max(1.0, max(picture.size) / longest)
    if zoom == 1:
        return picture, 1.0
    size = [max(1, round(side / zoom)) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.BOX), zoom


def _enlarged(edges: Iterable[float], zoom: float) -> Box:
    left, top, right, bottom = (zoom * edge for edge in edges)
    return left, top, right, bottom


def apart(boxes: Sequence[Box], scores: NDArray[np.float32], k: int) -> list[int]:
    """At most k boxes, best first, of which no two show the same thing."""
    edges = np.array(boxes, np.float64).reshape(-1, 4)
    areas = np.prod(edges[:, 2:] - edges[:, :2], axis=1)
    chosen: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        low = np.maximum(edges[chosen, :2], edges[i, :2])
        high = np.minimum(edges[chosen, 2:], edges[i, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        if (shared <= SAME_PLACE * np.minimum(areas[chosen], areas[i])).all():
            chosen.append(int(i))
        if len(chosen) == k:
            break
    return chosen
