"""Drawings of answers: grids of pairs, a query beside its matches, boxes, heat-maps."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from onelook.files import write_whole

Picture = NDArray[np.uint8]  # (H, W) or (H, W, C)

# Sizes below are in points, of which a drawing has this many pixels each.
PIXELS = 2
LINE = 12.5  # from one line of text to the next
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".pdf")
# Fonts with more letters than the one that Pillow brings, where they are installed.
FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf")
INK, MUTED, RULE, OTHER = "#1d2126", "#5b636b", "#c9cdd2", "#8a9199"
SAME, DIFFERENT = "#1f6f9f", "#c2512b"


def draw_pairs(pairs: Sequence[tuple[Picture, Picture, bool]], path: str | Path) -> Path:
    """Draw a grid of (left, right, is_same) pairs with "same" or "different" under each."""
    if not pairs:
        raise ValueError("a picture of pairs needs at least one pair, got 0")
    box, gap, margin, text = 84.0, 4.0, 18.0, 22.0
    n_columns = min(len(pairs), 5 if len(pairs) > 12 else max(2, math.isqrt(len(pairs))))
    n_rows = -(-len(pairs) // n_columns)
    cell_width, cell_height = 2 * box + gap + margin, box + text + margin / 2
    sheet = _Sheet(n_columns * cell_width + margin, n_rows * cell_height + margin)
    for i, (left, right, is_same) in enumerate(pairs):
        x = margin + i % n_columns * cell_width
        y = margin + i // n_columns * cell_height
        sheet.add_picture(left, x, y, box)
        sheet.add_picture(right, x + box + gap, y, box)
        word, colour = ("same", SAME) if is_same else ("different", DIFFERENT)
        sheet.add_text(word, x + box + gap / 2, y + box + 5, 10, colour)
    return sheet.save(path)


def draw_comparison(
    query: Picture,
    others: Sequence[Picture],
    captions: Sequence[str],
    path: str | Path,
    *,
    query_caption: str = "",
) -> Path:
    """Draw the query beside 1 to about 30 others, best first, a caption under each."""
    if not others or len(others) != len(captions):
        raise ValueError(
            "a comparison needs at least one other picture and a caption for each, got "
            f"{len(others)} pictures and {len(captions)} captions"
        )
    box, gap, margin = 130.0, 16.0, 20.0
    n_lines = max(text.count("\n") + 1 for text in [*captions, query_caption])
    n_rows = -(-len(others) // 5)
    n_columns = -(-len(others) // n_rows)
    cell_width, cell_height = box + gap, box + 8 + LINE * n_lines + gap
    first = margin + box + 2 * gap  # where the others begin
    width = first + n_columns * cell_width - gap + margin
    sheet = _Sheet(width, n_rows * cell_height - gap + 2 * margin)
    sheet.add_picture(query, margin, margin, box)
    sheet.add_text(query_caption, margin + box / 2, margin + box + 6, 9, MUTED, box + gap)
    sheet.add_line(margin + box + gap, margin, n_rows * cell_height - gap)
    for i, (picture, caption) in enumerate(zip(others, captions, strict=True)):
        x = first + i % n_columns * cell_width
        y = margin + i // n_columns * cell_height
        sheet.add_picture(picture, x, y, box)
        sheet.add_text(caption, x + box / 2, y + box + 6, 9, INK, box + gap)
    return sheet.save(path)


def draw_columns(
    columns: Sequence[tuple[str, Sequence[Picture], str]], title: str, path: str | Path
) -> Path:
    """Draw a title, and groups of pictures: caption, pictures, colour of the caption."""
    box, gap, margin, between = 112.0, 6.0, 18.0, 22.0
    widths = [len(pictures) * (box + gap) - gap for _, pictures, _ in columns]
    width = sum(widths) + between * (len(columns) - 1) + 2 * margin
    sheet, top = _titled(title, width, box + 6 + LINE + margin, margin)
    x = margin
    for (caption, pictures, colour), span in zip(columns, widths, strict=True):
        for i, picture in enumerate(pictures):
            sheet.add_picture(picture, x + i * (box + gap), top, box)
        sheet.add_text(caption, x + span / 2, top + box + 6, 10, colour)
        x += span + between
    return sheet.save(path)


def draw_boxes(
    query: Picture | None,
    picture: Picture,
    boxes: Sequence[tuple[tuple[float, float, float, float], str, bool]],
    title: str,
    path: str | Path,
) -> Path:
    """Draw the query, if there is one, and beside it a picture with boxes, best first.

    A box is (left, top, right, bottom) in pixels, a caption, and whether it is the query.
    """
    box, small, margin = 520.0, 120.0 if query is not None else 0.0, 18.0
    height, width = picture.shape[:2]
    scale = box / max(height, width)
    below = max(small + 20, height * scale) + margin
    sheet, top = _titled(title, 3 * margin + small + box, below, margin)
    if query is not None:
        sheet.add_picture(query, margin, top, small)
        sheet.add_text("query", margin + small / 2, top + small + 6, 9, MUTED)
    x = 2 * margin + small + (box - width * scale) / 2
    sheet.add_picture(picture, 2 * margin + small, top - (box - height * scale) / 2, box)
    for (left, upper, right, lower), caption, is_same in reversed(boxes):
        edges = (
            x + scale * left,
            top + scale * upper,
            x + scale * right,
            top + scale * lower,
        )
        sheet.add_box(edges, caption, SAME if is_same else OTHER)
    return sheet.save(path)


def tint(picture: Picture, heat: NDArray[np.float32], colour: str) -> Picture:
    """The picture (H, W, 3), pale, coloured where a heat-map (H, W) in [0, 1] is high."""
    pale = 255 - 0.4 * (255 - as_rgb(picture).mean(2, keepdims=True))
    # The root lifts parts that count a little into sight.
    share = 0.9 * np.sqrt(heat)[:, :, None]
    mixed = (1 - share) * pale + share * np.array(ImageColor.getrgb(colour))
    tinted: Picture = np.rint(mixed).astype(np.uint8)
    return tinted


def as_rgb(picture: Picture) -> Picture:
    """(H, W) or (H, W, 1) grey as (H, W, 3); colour as it is."""
    if picture.ndim == 2:
        picture = picture[:, :, None]
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def shorten(name: str, length: int) -> str:
    """At most ``length`` characters, with an ellipsis in the middle."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


def check_ending(path: str | Path) -> str:
    """The kind of picture that a file name asks for, such as ``"png"``."""
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"a picture must end in {', '.join(KINDS)}, got {path.name!r}")
    return path.suffix[1:].lower().replace("jpg", "jpeg")


class _Sheet:
    """White paper measured in points from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        size = round(PIXELS * width), round(PIXELS * height)
        self.image = Image.new("RGB", size, "white")
        self.pen = ImageDraw.Draw(self.image)

    def add_picture(self, picture: Picture, x: float, y: float, box: float) -> None:
        """Add a picture as large as fits into a square of side ``box``, centred in it."""
        is_tiny = max(picture.shape[:2]) < 64
        how = Image.Resampling.NEAREST if is_tiny else Image.Resampling.LANCZOS
        side = round(PIXELS * box)
        image = ImageOps.contain(Image.fromarray(as_rgb(picture)), (side, side), how)
        left = round(PIXELS * (x + box / 2) - image.width / 2)
        top = round(PIXELS * (y + box / 2) - image.height / 2)
        self.image.paste(image, (left, top))
        frame = left, top, left + image.width, top + image.height
        self.pen.rectangle(frame, outline=RULE)

    def add_text(
        self, text: str, x: float, y: float, size: float, colour: str, room: float = 0
    ) -> None:
        """Add lines centred on x, the first below y, shortened to ``room`` points."""
        font = _font(size)
        for i, line in enumerate(text.split("\n")):
            length = len(line)
            while room and font.getlength(shorten(line, length)) > PIXELS * room:
                length -= 1
            place = PIXELS * x, PIXELS * (y + i * LINE)
            self.pen.text(place, shorten(line, length), colour, font, anchor="ma")

    def add_box(
        self, edges: tuple[float, float, float, float], text: str, colour: str
    ) -> None:
        """Add a frame with words above it, or inside, where they stay on the sheet."""
        left, top, right, bottom = (PIXELS * edge for edge in edges)
        self.pen.rectangle((left, top, right, bottom), outline=colour, width=2 * PIXELS)
        font = _font(7.5)
        room = self.image.width - font.getlength(text) - 3 * PIXELS
        place = (
            max(min(left + PIXELS, room), 2 * PIXELS),
            max(top, 14 * PIXELS) - 2 * PIXELS,
        )
        x0, y0, x1, y1 = self.pen.textbbox(place, text, font, anchor="ls")
        self.pen.rectangle((x0 - 3, y0 - 3, x1 + 3, y1 + 3), fill=colour)
        self.pen.text(place, text, "white", font, anchor="ls")

    def add_line(self, x: float, y: float, length: float) -> None:
        """Add a vertical rule."""
        self.pen.line([PIXELS * value for value in (x, y, x, y + length)], RULE)

    def save(self, path: str | Path) -> Path:
        buffer = io.BytesIO()
        self.image.save(buffer, check_ending(path), resolution=72 * PIXELS)
        return write_whole(Path(path), buffer.getvalue())


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, PIXELS * size)
        except OSError:  # it is not installed
            continue
    return ImageFont.load_default(PIXELS * size)


def _titled(title: str, width: float, below: float, margin: float) -> tuple[_Sheet, float]:
    """A sheet with a title in as many lines as it needs, and where what is below begins."""
    font, lines = _font(10), [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= PIXELS * (width - 2 * margin):
            lines[-1] = longer
        else:
            lines.append(word)
    top = margin + LINE * len(lines) + 8
    sheet = _Sheet(width, top + below)
    sheet.add_text("\n".join(lines), width / 2, margin - 4, 10, INK)
    return sheet, top
