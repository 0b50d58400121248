"""Pictures for people: a grid of pairs, and one image beside those it was compared with."""

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from onelook.files import write_whole
from onelook.report.figures import as_rgb, shorten

Picture = NDArray[np.uint8]  # (H, W) or (H, W, C)

LINE_POINTS = 12.5  # from one line of a caption to the next
PICTURE_KINDS = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")


def draw_pairs(pairs: Sequence[tuple[Picture, Picture, bool]], path: str | Path) -> Path:
    """Draw a grid of (left, right, is_same) pairs with "same" or "different" under each.

    Raises:
        ValueError: If there is no pair, or the file name's ending is no known kind of
        picture.
    """
    if not pairs:
        raise ValueError("a picture of pairs needs at least one pair, got 0")
    box, gap, margin, text = 84.0, 4.0, 18.0, 22.0
    n_columns = min(len(pairs), 5 if len(pairs) > 12 else max(2, math.isqrt(len(pairs))))
    n_rows = -(-len(pairs) // n_columns)
    cell_width, cell_height = 2 * box + gap + margin, box + text + margin / 2
    canvas = _Canvas(n_columns * cell_width + margin, n_rows * cell_height + margin)
    for i, (left, right, is_same) in enumerate(pairs):
        x = margin + i % n_columns * cell_width
        y = margin + i // n_columns * cell_height
        canvas.add_picture(left, x, y, box)
        canvas.add_picture(right, x + box + gap, y, box)
        word, colour = ("same", "#1f6f9f") if is_same else ("different", "#c2512b")
        canvas.add_text(word, x + box + gap / 2, y + box + 5, 10, colour, weight="bold")
    return canvas.save(path)


def draw_comparison(
    query: Picture,
    others: Sequence[Picture],
    captions: Sequence[str],
    path: str | Path,
    query_caption: str = "",
) -> Path:
    """Draw the query beside each of the others, in the given order, a caption under each.

    Args:
        query: What the others were compared with.
        others: 1 to about 30 pictures, best first.
        captions: One for each of them, such as ``"Dissimilarity: 1.2345"``; may have lines.
        path: Ends in ``.png``, ``.jpg``, ``.webp``, ``.pdf`` or ``.svg``.
        query_caption: Under the query, such as its file name.

    Raises:
        ValueError: If there is no other, captions do not match, or the ending is unknown.
    """
    if not others or len(others) != len(captions):
        raise ValueError(
            "a comparison needs at least one other picture and a caption for each, got "
            f"{len(others)} pictures and {len(captions)} captions"
        )
    box, gap, margin = 130.0, 16.0, 20.0
    n_lines = max(text.count("\n") + 1 for text in [*captions, query_caption])
    n_rows = -(-len(others) // 5)
    n_columns = -(-len(others) // n_rows)
    cell_width, cell_height = box + gap, box + 8 + LINE_POINTS * n_lines + gap
    first = margin + box + 2 * gap  # where the others begin
    canvas = _Canvas(
        first + n_columns * cell_width - gap + margin,
        n_rows * cell_height - gap + 2 * margin,
    )
    canvas.add_picture(query, margin, margin, box)
    canvas.add_text(_fit(query_caption), margin + box / 2, margin + box + 6, 9, "#5b636b")
    canvas.add_line(margin + box + gap, margin, n_rows * cell_height - gap)
    for i, (picture, caption) in enumerate(zip(others, captions, strict=True)):
        x = first + i % n_columns * cell_width
        y = margin + i // n_columns * cell_height
        canvas.add_picture(picture, x, y, box)
        canvas.add_text(_fit(caption), x + box / 2, y + box + 6, 9, "#1d2126")
    return canvas.save(path)


class Captioned(NamedTuple):
    """Pictures that belong together, and the words under them."""

    caption: str
    pictures: Sequence[Picture]
    colour: str = "#5b636b"


def render_columns(columns: Sequence[Captioned], title: str, kind: str = "png") -> bytes:
    """The bytes of a drawing: a title, and under it groups of pictures from left to right.

    Args:
        columns: 1 or more groups, each of 1 or more pictures.
        title: One line, which is broken where it is wider than the groups.
        kind: An ending without its dot, from ``check_ending``.
    """
    box, gap, margin, between = 112.0, 6.0, 18.0, 22.0
    widths = [len(c.pictures) * (box + gap) - gap for c in columns]
    width = sum(widths) + between * (len(columns) - 1) + 2 * margin
    lines = textwrap.wrap(title, int(width / 5.2)) or [""]
    top = margin + LINE_POINTS * len(lines) + 8
    canvas = _Canvas(width, top + box + 6 + LINE_POINTS + margin)
    canvas.add_text("\n".join(lines), width / 2, margin - 4, 10, "#1d2126")
    x = margin
    for column, span in zip(columns, widths, strict=True):
        for i, picture in enumerate(column.pictures):
            canvas.add_picture(picture, x + i * (box + gap), top, box)
        canvas.add_text(column.caption, x + span / 2, top + box + 6, 10, column.colour)
        x += span + between
    return canvas.render(kind)


class Boxed(NamedTuple):
    """A box of a picture in pixels: left, top, right, bottom; and what is said of it."""

    box: tuple[float, float, float, float]
    caption: str
    is_same: bool


def render_boxes(
    query: Picture, picture: Picture, boxes: Sequence[Boxed], title: str, kind: str = "png"
) -> bytes:
    """The bytes of a drawing: the query, and beside it the picture with its boxes.

    Args:
        query: What was looked for.
        picture: What it was looked for in.
        boxes: Best first; the best is drawn last, over the others.
        title: One line, which is broken where it is wider than the drawing.
        kind: An ending without its dot, from ``check_ending``.
    """
    box, small, margin = 520.0, 120.0, 18.0
    height, width = picture.shape[:2]
    scale = box / max(height, width)
    sheet = 3 * margin + small + box
    lines = textwrap.wrap(title, int(sheet / 5.4)) or [""]
    top = margin + LINE_POINTS * len(lines) + 8
    canvas = _Canvas(sheet, top + max(small + 20, height * scale) + margin)
    canvas.add_text("\n".join(lines), sheet / 2, margin - 4, 10, "#1d2126")
    canvas.add_picture(query, margin, top, small)
    canvas.add_text("looked for", margin + small / 2, top + small + 6, 9, "#5b636b")
    x, y = 2 * margin + small, top - (box - height * scale) / 2
    x_picture = x + (box - width * scale) / 2
    canvas.add_picture(picture, x, y, box)
    for boxed in reversed(boxes):
        colour = "#1f6f9f" if boxed.is_same else "#8a9199"
        left, upper, right, lower = (scale * edge for edge in boxed.box)
        corner = x_picture + left, top + upper
        canvas.add_box(*corner, right - left, lower - upper, boxed.caption, colour)
    return canvas.render(kind)


def tint(picture: Picture, heat: NDArray[np.float32], colour: str) -> Picture:
    """The picture (H, W, 3), pale, with a colour over the places that a heat-map marks.

    Args:
        picture: (H, W) or (H, W, 3) uint8.
        heat: (H, W) in [0, 1].
        colour: Of the marks, such as ``"#1f6f9f"``.
    """
    pale = 255 - 0.4 * (255 - as_rgb(picture).mean(2, keepdims=True))
    # The root lifts parts that count a little into sight.
    share = 0.9 * np.sqrt(heat)[:, :, None]
    mixed = (1 - share) * pale + share * 255 * np.array(to_rgb(colour))
    tinted: Picture = np.rint(mixed).astype(np.uint8)
    return tinted


def check_ending(path: str | Path) -> str:
    """The kind of picture that a file name asks for, such as ``"png"``.

    Raises:
        ValueError: If its ending is no known kind of picture.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_KINDS:
        raise ValueError(
            f"a picture must end in {', '.join(PICTURE_KINDS)}, got {path.name!r}"
        )
    return path.suffix[1:].lower()


class _Canvas:
    """A white sheet measured in points from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=144)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self.axes.set_autoscale_on(False)

    def add_picture(self, picture: Picture, x: float, y: float, box: float) -> None:
        """The picture, as large as fits into a square of side ``box``, centred in it."""
        height, width = picture.shape[:2]
        scale = box / max(height, width)
        w, h = width * scale, height * scale
        left, top = x + (box - w) / 2, y + (box - h) / 2
        self.axes.imshow(
            as_rgb(picture),
            extent=(left, left + w, top + h, top),
            aspect="auto",
            interpolation="nearest" if max(height, width) < 64 else "antialiased",
        )
        frame = Rectangle((left, top), w, h, fill=False, edgecolor="#c9cdd2", linewidth=0.6)
        self.axes.add_patch(frame)

    def add_text(
        self,
        text: str,
        x: float,
        y: float,
        size: float,
        colour: str,
        weight: str = "normal",
    ) -> None:
        """Lines centred on x, the first below y."""
        for i, line in enumerate(text.split("\n")):
            look: dict[str, Any] = {"size": size, "color": colour, "weight": weight}
            look |= {"ha": "center", "va": "top", "parse_math": False}
            self.axes.text(x, y + i * LINE_POINTS, line, **look)

    def add_box(
        self, x: float, y: float, width: float, height: float, text: str, colour: str
    ) -> None:
        """A frame, with words in its colour above it (inside where there is no room)."""
        self.axes.add_patch(
            Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.8)
        )
        look: dict[str, Any] = {"size": 7.5, "color": "white", "ha": "left", "va": "bottom"}
        look["bbox"] = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
        self.axes.text(x + 1, max(y - 2, 12), text, parse_math=False, **look)

    def add_line(self, x: float, y: float, length: float) -> None:
        """An upright rule."""
        self.axes.plot([x, x], [y, y + length], color="#c9cdd2", linewidth=0.7)

    def render(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=kind, facecolor="white")
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        return write_whole(Path(path), self.render(check_ending(path)))


def _fit(text: str) -> str:
    """Lines that fit under a picture of a comparison."""
    return "\n".join(shorten(line, 23) for line in text.split("\n"))
