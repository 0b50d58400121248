"""Several: an answer for every face of a picture, or every drawing of a sheet."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.boxes import Box, apart, propose
from onelook.comparison import Comparison
from onelook.data.inputs import Item
from onelook.data.inputs.decoding import decode, name_of, picture_of
from onelook.errors import DataError, UnfitError
from onelook.familiarity import Reason, of_both
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Gallery
from onelook.report.pictures import draw_boxes
from onelook.verifier import Verifier

MOST = 10  # faces of a picture


@dataclasses.dataclass(frozen=True)
class Placed:
    """Who one face or drawing shows.

    ``box`` is its left, top, right and bottom in pixels of the upright picture.
    """

    box: Box
    answer: Identification


@dataclasses.dataclass(frozen=True)
class Seen:
    """Who a picture shows, from left to right.

    Args:
        picture: Name of the picture.
        width: Its width, upright, in pixels.
        height: Its height, upright, in pixels.
        found: An answer for each face or drawing.
        n_left_out: Number of smaller ones that there was no answer for.
    """

    picture: str
    width: int
    height: int
    found: tuple[Placed, ...]
    n_left_out: int

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [f"({_place(one.box)})  {one.answer}" for one in self.found]
        if self.n_left_out:
            lines.append(f"and {self.n_left_out} more, which are smaller: give a larger N")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class PlacedPair:
    """Whether a face of one picture and one of another show the same person."""

    left_box: Box
    right_box: Box
    answer: Comparison

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"({_place(self.left_box)}) and ({_place(self.right_box)})  {self.answer}"


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """N parts of a picture, the largest first: boxes, embeddings (N, D), reasons."""

    boxes: list[Box]
    vectors: NDArray[np.float32]
    reasons: list[Reason]
    may_overlap: bool  # groups of strokes do, and the answers tell which are drawings


def identify_all(
    gallery: Gallery, picture: Item, k: int = 5, most: int = MOST, name: str = "image"
) -> Seen:
    """Who a picture shows: an answer for every face, or every drawing of a sheet.

    Args:
        gallery: Of a model of faces, with the detector that ``onelook[faces]`` installs,
            or of drawings.
        picture: A file, its bytes, a Pillow image or an array.
        k: Number of matches of each.
        most: Largest number of answers; the largest faces and drawings get them.
        name: What answers call a picture that is held in memory.

    Raises:
        DataError: If the picture cannot be read or shows none, or the model looks for none.
        ValueError: If ``k`` or ``most`` is not positive.
    """
    _check_positive(k=k, most=most)
    image, name = decode(picture), name_of(picture, name)
    parts = _parts(gallery.verifier, picture, name)
    answers = gallery.identify_embedded(parts.vectors, parts.reasons, k)
    kept = list(range(len(answers)))
    if parts.may_overlap:
        scores = [one.matches[0].score if one.matches else -np.inf for one in answers]
        alike = apart(parts.boxes, np.array(scores, np.float32), len(scores))
        kept = sorted(alike)  # the largest first again
    shown = sorted(kept[:most], key=lambda i: parts.boxes[i][0])
    found = tuple(Placed(parts.boxes[i], answers[i]) for i in shown)
    return Seen(name, image.width, image.height, found, len(kept) - len(shown))


def compare_all(
    verifier: Verifier, left: Item, right: Item, most: int = MOST
) -> list[PlacedPair]:
    """Every face of one picture against every face of another, the most alike first.

    Args:
        verifier: A model of faces, with the detector that ``onelook[faces]`` installs.
        left: A picture, as ``identify_all`` takes it.
        right: The other picture.
        most: Largest number of faces of each picture; the largest are taken.

    Raises:
        DataError: As ``identify_all`` raises it; on a sheet ``find`` looks for a drawing.
        ValueError: If ``most`` is not positive.
    """
    _check_positive(most=most)
    names = name_of(left, "left"), name_of(right, "right")
    sides = [_parts(verifier, *one) for one in zip((left, right), names, strict=True)]
    if any(one.may_overlap for one in sides):
        raise DataError(
            f"{verifier.name} is for drawings, and no faces; onelook find looks for a "
            "drawing on a sheet"
        )
    a, b = sides
    rows = [(i, j) for i in range(len(a.boxes[:most])) for j in range(len(b.boxes[:most]))]
    scores = verifier.score(
        a.vectors[[i for i, _ in rows]], b.vectors[[j for _, j in rows]]
    )
    pairs = [
        PlacedPair(
            a.boxes[i],
            b.boxes[j],
            verifier.judge(*names, float(score), of_both(a.reasons[i], b.reasons[j])),
        )
        for (i, j), score in zip(rows, scores, strict=True)
    ]
    return sorted(pairs, key=lambda pair: -pair.answer.score)


def draw_seen(picture: Item, seen: Seen, path: str | Path) -> Path:
    """Draw a picture with the names of those whom it shows.

    Args:
        picture: The picture that was given to ``identify_all``.
        seen: What it gave.
        path: Ends in ``.png``, ``.jpg``, ``.webp`` or ``.pdf``.
    """
    boxes = [
        (
            one.box,
            one.answer.identity or one.answer.verdict,
            one.answer.identity is not None,
        )
        for one in seen.found
    ]
    return draw_boxes(None, picture_of(picture), boxes, Path(seen.picture).name, path)


def draw_placed(
    left: Item, right: Item, pairs: Sequence[PlacedPair], path: str | Path
) -> Path:
    """Draw the left picture and the right one, there each face with its best verdict."""
    best: dict[Box, Comparison] = {}
    for pair in pairs:
        best.setdefault(pair.right_box, pair.answer)
    boxes = [
        (box, f"{one.verdict} {one.score:.3f}".strip(), one.is_same is True)
        for box, one in best.items()
    ]
    title = Path(pairs[0].answer.right).name
    return draw_boxes(picture_of(left), picture_of(right), boxes, title, path)


def _parts(verifier: Verifier, picture: Item, name: str) -> _Parts:
    """The faces of a picture, or the groups of strokes of a sheet, embedded."""
    if not (verifier.shared and verifier.input.subject):
        raise UnfitError(
            f"{name}: {verifier.name} does not look for faces; give one that does"
        )
    how, proposals, _ = propose(verifier, decode(picture, name), 1.0, name)
    if how == "windows":
        raise UnfitError(
            f"{name}: {verifier.name} looks for no faces here: give a model of faces "
            "(--model dlib-faces), with its detector: pip install 'onelook[faces]'"
        )
    if not proposals:
        raise UnfitError(f"{name}: no face was found; take a picture with upright faces")
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one.box for one in proposals)]
    order = sorted(range(len(proposals)), key=lambda i: -areas[i])
    loaded = [proposals[i].load() for i in order]
    boxes = [proposals[i].box for i in order]
    vectors = verifier.embed_loaded(loaded)
    called = [f"{name} at ({_place(box)})" for box in boxes]
    reasons = verifier.reasons(loaded, vectors, called)
    return _Parts(boxes, vectors, reasons, how == "components")


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be positive, got {number}")


def _place(box: Box) -> str:
    left, top, right, bottom = box
    return f"{left:.0f}, {top:.0f})-({right:.0f}, {bottom:.0f}"
