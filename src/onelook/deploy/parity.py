"""The parity file: pictures and what the model makes of them, for any program to repeat."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onelook.data.inputs import Item
from onelook.data.inputs.decoding import decode
from onelook.deploy.targets import TOLERANCES, Target
from onelook.errors import DataError
from onelook.verifier import Verifier

FORMAT, N_IMAGES = 1, 20
LARGEST = 400  # pixels of a side of a picture in the file


def make_parity(
    verifier: Verifier, target: Target, images: Sequence[Item] = ()
) -> dict[str, Any]:
    """The content of ``parity.json``; its vectors are those of the model as it is.

    Raises:
        DataError: If there are fewer than 20 images, or one is not what the model takes.
    """
    pictures = _spread(images) if images else [drawn(seed) for seed in range(N_IMAGES)]
    sides = ("left",) if verifier.shared else ("left", "right")
    items, found = [], {}
    for side in sides:
        try:
            pixels = verifier.input_of(side).load_many(pictures)
        except DataError as error:
            if images:
                raise
            raise DataError(
                f"{verifier.name} takes none of the drawn pictures of a parity file: add "
                "--images FOLDER with 20 pictures of its kind"
            ) from error
        found[side] = verifier.embed_loaded(pixels, side)
        items += [
            {
                "side": side,
                "image": _text(_png(picture)),
                "pixels": _text(seen.tobytes()),
                "vector": _numbers(vector),
            }
            for picture, seen, vector in zip(pictures, pixels, found[side], strict=True)
        ]
    pairs = [(i, (i + 1) % N_IMAGES) for i in range(N_IMAGES)]
    left, right = found["left"], found[sides[-1]]
    scores = verifier.score(left, right[[j for _, j in pairs]])
    first = 0 if verifier.shared else N_IMAGES
    return {
        "format": FORMAT,
        "model": verifier.name,
        "fingerprint": verifier.fingerprint,
        "target": target,
        "tolerance": TOLERANCES[target],
        "items": items,
        "pairs": [[i, first + j] for i, j in pairs],
        "scores": _numbers(scores),
    }


def drawn(seed: int) -> Image.Image:
    """A picture for models of any kind: dark strokes and shapes on light paper."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(80, 240))
    image = Image.new("RGB", (side, side + 20), (245, 245, 240))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        points = [(x * side, y * side) for x, y in rng.uniform(0.15, 0.85, (3, 2))]
        colour = tuple(int(value) for value in rng.integers(0, 110, 3))
        draw.line(points, fill=colour, width=max(2, side // 20))
    return image


def _spread(images: Sequence[Item]) -> list[Image.Image]:
    if len(images) < N_IMAGES:
        raise DataError(f"a parity file needs {N_IMAGES} images, got {len(images)}")
    rows = np.linspace(0, len(images) - 1, N_IMAGES).astype(int)
    found = [decode(images[i], f"image {i + 1}") for i in rows]
    for picture in found:
        picture.thumbnail((LARGEST, LARGEST))
    return found


def pixels_of(item: dict[str, Any], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Pixels (C, H, W) of an item, as the network's input is made of them."""
    return np.frombuffer(base64.b64decode(item["pixels"]), np.uint8).reshape(shape)


def picture_of(item: dict[str, Any]) -> bytes:
    """The PNG file of an item."""
    return base64.b64decode(item["image"])


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _numbers(values: NDArray[np.float32]) -> list[float]:
    """As JSON holds them: 9 digits give every float32 back."""
    return [float(f"{value:.9g}") for value in values]
