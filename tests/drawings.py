"""One drawing in the many ways in which people make and photograph drawings."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

Path = list[np.ndarray]
# Omniglot's own: 105 pixels, strokes of 5 in a drawing of 68.
OWN_PEN = 0.075


def pen_path(strokes: Sequence[np.ndarray]) -> Path:
    """Strokes (n, 2) with y upwards, moved around 0, the longer side of their box 1."""
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    side = max(*(high - low), 1e-6)
    return [(s - (low + high) / 2) / side * (1, -1) for s in strokes]


def coverage(
    path: Path,
    size: tuple[int, int],
    extent: float,
    pen: float,
    centre: tuple[float, float] | None = None,
) -> np.ndarray:
    """How much of each pixel (height, width) is ink, in [0, 1].

    Args:
        path: As ``pen_path`` gives it.
        size: Width and height in pixels.
        extent: Longer side of the path's box in pixels.
        pen: Width of the round pen in pixels.
        centre: Of the path's box; ``None``: of the picture.
    """
    fine = 2
    width, height = size
    centre = centre or (width / 2, height / 2)
    image = Image.new("L", (fine * width, fine * height))
    draw = ImageDraw.Draw(image)
    radius = fine * pen / 2
    for stroke in path:
        points = fine * (stroke * extent + centre)
        draw.line([tuple(p) for p in points], fill=255, width=max(1, round(2 * radius)))
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image.reduce(fine), dtype=np.float32) / 255


def traced(
    drawing: Image.Image,
    size: tuple[int, int] = (105, 105),
    side: int = 105,
    corner: tuple[int, int] = (0, 0),
    pen: float = 1,
) -> np.ndarray:
    """One of Omniglot's drawings with another pen: ink (height, width) in [0, 1].

    For the alphabets whose strokes are not at hand. A thinner pen is what a disc leaves of
    the ink (erosion), a thicker one what it covers (dilation).

    Args:
        drawing: Dark on light.
        size: Width and height of the result.
        side: What the drawing's frame measures there, in pixels.
        corner: Where the frame's left top lies.
        pen: The strokes' new width as a share of the old one, which is 5 of 105 pixels.
    """
    large = drawing.convert("L").resize((420, 420), Image.Resampling.BICUBIC)
    ink = np.asarray(large) < 128
    change = (pen - 1) * 5 * (420 / 105) / 2
    distance = ndimage.distance_transform_edt(~ink if change > 0 else ink)
    drawn = distance <= change if change > 0 else distance > -change
    frame = Image.fromarray(np.where(drawn, np.uint8(255), np.uint8(0)))
    sheet = Image.new("L", size)
    sheet.paste(frame.resize((side, side), Image.Resampling.BOX), corner)
    return np.asarray(sheet, dtype=np.float32) / 255


def on_paper(ink: np.ndarray, paper: object, pen: object) -> Image.Image:
    """Ink (H, W) of one colour on paper of another; grey levels or (r, g, b)."""
    paper, pen = np.asarray(paper, float), np.asarray(pen, float)
    share = ink if paper.ndim == 0 else ink[..., None]
    return Image.fromarray(np.rint(paper + share * (pen - paper)).astype(np.uint8))


def on_glass(ink: np.ndarray, level: int) -> Image.Image:
    """Ink (H, W) of one grey level on nothing: a transparent background."""
    image = Image.new("RGBA", ink.shape[::-1], (level, level, level, 0))
    image.putalpha(Image.fromarray(np.rint(255 * ink).astype(np.uint8)))
    return image


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def photographed(
    ink: np.ndarray,
    seed: int,
    pen: tuple[int, int, int] = (35, 35, 45),
    paper: tuple[int, int, int] = (232, 230, 222),
    lines: str = "",
    table: bool = False,
) -> Image.Image:
    """A phone's photo of ink (H, W) on a sheet: uneven light, a shadow, noise, JPEG.

    Args:
        ink: As ``coverage`` gives it.
        seed: Of the light, the shadow and the noise.
        pen: Its colour.
        paper: The sheet's colour, or a board's.
        lines: "", "ruled" or "squared": printed on the sheet in pale blue.
        table: Leave a strip of dark table at the right.
    """
    rng = np.random.default_rng(seed)
    height, width = ink.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(width, height)
    sheet = np.full((height, width, 3), np.array(paper, np.float32))
    step = width / 14
    across = (np.arange(height) % step < max(1, width / 400))[:, None]
    down = (np.arange(width) % step < max(1, width / 400))[None]
    printed = {"": np.False_, "ruled": across, "squared": across | down}[lines]
    sheet[np.broadcast_to(printed, ink.shape)] = (165, 185, 222)
    sheet += ink[..., None] * (np.array(pen) - sheet)
    if table:
        sheet[:, round(0.93 * width) :] = (70, 50, 40)
    # Slightly from the side: a trapezium.
    sheet = _tilted(sheet, 0.06)
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.8 + 0.35 * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))
    edge = (x - 0.5) * np.sin(angle) + (y - 0.5) * np.cos(angle) + rng.uniform(-0.2, 0.2)
    light *= 1 - 0.3 / (1 + np.exp(-edge / 0.03))  # the shadow of a hand
    photo = ndimage.gaussian_filter(sheet * light[..., None], (0.8, 0.8, 0))
    photo += 5 * rng.standard_normal(photo.shape, np.float32)
    pixels = np.clip(np.rint(photo), 0, 255).astype(np.uint8)
    return as_jpeg(Image.fromarray(pixels), 70)


def _tilted(sheet: np.ndarray, amount: float) -> np.ndarray:
    height, width, _ = sheet.shape
    image = Image.fromarray(np.rint(sheet).astype(np.uint8))
    side = amount * width
    # The top edge is further away: pixels (x, y) are read from a narrower row.
    corners = (-side / 2, 0, 0, height, width, height, width + side / 2, 0)
    return np.asarray(
        image.transform(
            image.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
        ),
        dtype=np.float64,
    )


def _plain(path: Path, side: int = 105, extent: float = 68, pen: float = 5) -> np.ndarray:
    return coverage(path, (side, side), extent, pen)


def _phone(path: Path, share: float = 0.4, pen: float = OWN_PEN) -> np.ndarray:
    """On a landscape photo, off its centre; ``share`` of the height is drawn on."""
    extent = share * 540
    return coverage(path, (720, 540), extent, pen * extent, (315, 293))


WAYS: dict[str, Callable[[Path], Image.Image]] = {
    "like Omniglot": lambda p: on_paper(_plain(p) > 0.5, 255, 0),
    "white on black": lambda p: on_paper(_plain(p), 0, 255),
    "thin": lambda p: on_paper(_plain(p, 200, 130, 2), 255, 0),
    "thick": lambda p: on_paper(_plain(p, 200, 130, 15), 255, 0),
    "small in a corner": lambda p: on_paper(
        coverage(p, (300, 300), 60, 4, (70, 240)), 255, 0
    ),
    "filling the picture": lambda p: on_paper(_plain(p, 120, 112, 7), 255, 0),
    "black on glass": lambda p: on_glass(_plain(p), 0),
    "white on glass": lambda p: on_glass(_plain(p), 255),
    "blue pen": lambda p: as_jpeg(
        on_paper(_plain(p, 300, 200, 9), (255, 255, 255), (40, 60, 200)), 80
    ),
    "pencil on grey paper": lambda p: on_paper(_plain(p, 300, 200, 9), 190, 120),
    "photo": lambda p: photographed(_phone(p), 0),
    "photo of a small drawing": lambda p: photographed(_phone(p, 0.17), 1),
    "photo, marker": lambda p: photographed(_phone(p, 0.5, 0.11), 2),
    "photo, fine blue pen": lambda p: photographed(
        _phone(p, 0.5, 0.025), 3, pen=(40, 60, 170)
    ),
    "photo, ruled paper": lambda p: photographed(_phone(p), 4, lines="ruled"),
    "photo, squared paper": lambda p: photographed(_phone(p), 5, lines="squared"),
    "photo with table": lambda p: photographed(_phone(p), 6, table=True),
    "photo, chalk on a board": lambda p: photographed(
        _phone(p), 7, pen=(225, 225, 215), paper=(50, 75, 60)
    ),
}
