"""Whether two files hold one picture: the same bytes, or pixels that hardly differ."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.decoding import decode
from onelook.data.reading import read_bytes

SIDE = 16  # pixels of a miniature
ALIKE = 0.98  # correlation of two miniatures of one picture, at least
BRIGHTNESS = 0.1  # by which their means may differ, of black to white
NEARLY_FLAT = 0.01  # of black to white: the spread of a miniature without a picture
SHAPE = 0.05  # by which the ratios of width and height may differ


class Pictures:
    """What is needed to compare files, read from each file once."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._known: dict[int, tuple[str, float, NDArray[np.float32]]] = {}

    def are_one(self, left: int, right: int) -> bool:
        """Whether the files of two rows hold one picture, perhaps resized or re-encoded."""
        (a, a_shape, a_small), (b, b_shape, b_small) = self._of(left), self._of(right)
        if a == b:
            return True
        if abs(a_shape / b_shape - 1) > SHAPE:
            return False
        if abs(float(a_small.mean() - b_small.mean())) > BRIGHTNESS:
            return False
        a_spread, b_spread = float(a_small.std()), float(b_small.std())
        if min(a_spread, b_spread) < NEARLY_FLAT:
            return max(a_spread, b_spread) < NEARLY_FLAT
        apart = (a_small - a_small.mean()) * (b_small - b_small.mean())
        return float(apart.mean()) / (a_spread * b_spread) >= ALIKE

    def same_bytes(self, left: int, right: int) -> bool:
        return self._of(left)[0] == self._of(right)[0]

    def _of(self, row: int) -> tuple[str, float, NDArray[np.float32]]:
        """SHA-256 of the file, width through height, and a grey miniature in [0, 1]."""
        if row not in self._known:
            content = read_bytes(self._paths[row])
            image = decode(content, self._paths[row])
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
            self._known[row] = (
                hashlib.sha256(content).hexdigest(),
                image.width / image.height,
                np.asarray(small, np.float32) / np.float32(255),
            )
        return self._known[row]
