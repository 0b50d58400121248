"""Classical scorers that learn nothing, to compare trained models with."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import ImageInput
from onelook.data.inputs.decoding import decode
from onelook.data.reading import read_bytes
from onelook.recipe import ImageSettings

Floats = NDArray[np.float64]


class NearestPixels:
    """Minus the Euclidean distance of the pixels of two images: 1-nearest-neighbour.

    Args:
        height, width: Size to which images are resized, in pixels.
    """

    name = "nearest pixels"
    shared = True

    def __init__(self, height: int = 105, width: int = 105) -> None:
        settings = ImageSettings.model_validate({"height": height, "width": width})
        self.input = ImageInput(settings)

    def embed(self, addresses: Sequence[str], side: str = "left") -> NDArray[np.float32]:
        """Grey pixels (N, height * width) in [0, 1]."""
        return self.embed_loaded(self.input.load_many(addresses))

    def embed_loaded(
        self, pixels: NDArray[np.uint8], side: str = "left"
    ) -> NDArray[np.float32]:
        """As ``embed``, of loaded pixels (N, 1, height, width)."""
        return np.divide(pixels.reshape(len(pixels), -1), 255, dtype=np.float32)

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        difference = left - right
        squares: Floats = np.einsum("nd,nd->n", difference, difference)
        return -np.sqrt(squares.astype(np.float64))

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        from scipy.spatial.distance import cdist

        distances: Floats = cdist(left, right)
        return -distances


class ModifiedHausdorff:
    """Minus the modified Hausdorff distance of the ink of two drawings, as in Lake's demo.

    The points of the ink are centred on their mean; the distance is the larger of the two
    mean distances from a point of one drawing to the nearest point of the other.

    Reference:
        Dubuisson, Jain. A Modified Hausdorff Distance for Object Matching. ICPR 1994. It
        gives 38.75% error on the official 20 runs of Omniglot.
    """

    name = "modified Hausdorff distance"
    shared = True

    def embed(self, addresses: Sequence[str], side: str = "left") -> NDArray[np.object_]:
        """(N,) trees of the points of the dark pixels, in pixels from their mean."""
        from scipy.spatial import cKDTree

        drawings = np.empty(len(addresses), object)
        for i, address in enumerate(addresses):
            image = decode(read_bytes(address), address).convert("L")
            points = np.argwhere(np.asarray(image) < 128).astype(np.float64)
            # A blank sheet is one point in its middle.
            points = points - points.mean(axis=0) if len(points) else np.zeros((1, 2))
            drawings[i] = cKDTree(points)
        return drawings

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        return np.array([_hausdorff_score(a, b) for a, b in zip(left, right, strict=True)])

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        return np.array([[_hausdorff_score(a, b) for b in right] for a in left], np.float64)


def _hausdorff_score(left: Any, right: Any) -> float:
    to_right = right.query(left.data)[0].mean()
    to_left = left.query(right.data)[0].mean()
    return -float(max(to_right, to_left))


class WordOverlap:
    """Fraction of the words of two texts that both have (Jaccard), ignoring case."""

    name = "word overlap"
    shared = True

    def embed(self, addresses: Sequence[str], side: str = "left") -> NDArray[np.object_]:
        """(N,) objects, each the set of words of a text; the address is the text."""
        texts = np.empty(len(addresses), object)
        for i, text in enumerate(addresses):
            texts[i] = frozenset(re.findall(r"\w+", text.lower()))
        return texts

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        return np.array([_jaccard(a, b) for a, b in zip(left, right, strict=True)])

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        return np.array([[_jaccard(a, b) for b in right] for a in left], np.float64)


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    together = left | right
    return len(left & right) / len(together) if together else 1.0
