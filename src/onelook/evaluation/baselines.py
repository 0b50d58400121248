"""Classical scorers that learn nothing, to compare trained models with."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import ImageInput
from onelook.data.inputs.decoding import decode
from onelook.data.reading import read_bytes
from onelook.evaluation.scorer import Scorer
from onelook.extras import import_extra
from onelook.recipe import ImageSettings
from onelook.runtime.scores import build_scores

Floats = NDArray[np.float64]


class NearestPixels:
    """Minus the Euclidean distance of the pixels of two images: 1-nearest-neighbour."""

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
        exact = left.astype(np.float64), right.astype(np.float64)
        return build_scores("euclidean").matrix(*exact)


@dataclass(frozen=True)
class ItemBaseline:
    """A scorer that compares any two items directly: ``alike`` of what ``read`` gives."""

    name: str
    read: Callable[[str], Any]
    alike: Callable[[Any, Any], float]
    shared = True

    def embed(self, addresses: Sequence[str], side: str = "left") -> NDArray[np.object_]:
        """(N,) objects, one for each item."""
        items = np.empty(len(addresses), object)
        for i, address in enumerate(addresses):
            items[i] = self.read(address)
        return items

    def score(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        return np.array([self.alike(a, b) for a, b in zip(left, right, strict=True)])

    def score_matrix(self, left: NDArray[Any], right: NDArray[Any]) -> Floats:
        return np.array([[self.alike(a, b) for b in right] for a in left], np.float64)


def ink_points(address: str) -> Any:
    """A tree of the points of the dark pixels of a drawing, in pixels from their mean."""
    spatial = import_extra("scipy.spatial", "train", "the baseline 'hausdorff'")
    image = decode(read_bytes(address), address).convert("L")
    points = np.argwhere(np.asarray(image) < 128).astype(np.float64)
    # A blank sheet is one point in its middle.
    return spatial.cKDTree(
        points - points.mean(axis=0) if len(points) else np.zeros((1, 2))
    )


def hausdorff_score(left: Any, right: Any) -> float:
    """Minus the modified Hausdorff distance of two trees of points, as in Lake's demo.

    The larger of the two mean distances from a point of one to the nearest of the other.

    Reference:
        Dubuisson, Jain. A Modified Hausdorff Distance for Object Matching. ICPR 1994. It
        gives 38.75% error on the official 20 runs of Omniglot.
    """
    to_right = right.query(left.data)[0].mean()
    to_left = left.query(right.data)[0].mean()
    return -float(max(to_right, to_left))


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in lower case."""
    return frozenset(re.findall(r"\w+", text.lower()))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Fraction of the words of two texts that both have."""
    together = left | right
    return len(left & right) / len(together) if together else 1.0


BASELINES: dict[str, Scorer] = {
    "hausdorff": ItemBaseline("modified Hausdorff distance", ink_points, hausdorff_score),
    "nearest-pixels": NearestPixels(),
    "word-overlap": ItemBaseline("word overlap", words_of, jaccard),
}
