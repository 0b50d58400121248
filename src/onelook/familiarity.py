"""Familiarity: whether an image looks like those that a decision was fitted on.

A threshold says nothing about images of another kind: two pictures of noise may be as near
to each other as two photographs of one face. Where an image lies among familiar ones, and
how far from all of them, its pixels and its embedding tell; how these are weighed was
learned from familiar images and from others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels that are compared, in grey
SMALLEST = 1e-6
LARGEST = 5.0  # deviations from the mean that count

Floats = NDArray[np.float64]
# N of (C, H, W), as the input of a model loads them.
Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
# Why an image is not familiar; "" where it is, None where that is not known.
Reason = str | None


@dataclass(frozen=True, eq=False)
class Subspace:
    """The main ways in which points differ from their mean: K directions (K, P)."""

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    spreads: NDArray[np.float32]

    def features(self, points: Floats) -> Floats:
        """(N, 2 K + 2): where points (N, P) lie along the ways and how far out, and beside.

        Reference:
            Moghaddam, Pentland. Probabilistic Visual Learning for Object Representation.
            PAMI 1997: the distance inside a principal subspace, and the residual.
        """
        centred = points - self.mean
        along = centred @ self.directions.T.astype(np.float64)
        beside = np.square(centred).sum(1) - np.square(along).sum(1)
        place = along / self.spreads
        distance = np.square(place).mean(1)
        place = np.clip(place, -LARGEST, LARGEST)
        ends = np.log(np.maximum([beside, distance], SMALLEST)).T
        return np.hstack([place, np.square(place), ends])


class Flagged(NamedTuple):
    """Shares of images that are called unlike: of the model's own kind, and of others."""

    own: float
    others: float | None


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What familiar images look like.

    Weights (F,) of an image's features and an offset (1,) add up to how unlike it is.
    ``flagged`` was measured on images that fitted neither; the model's card keeps it.
    """

    pixels: Subspace
    vectors: Subspace
    weights: NDArray[np.float32]
    offset: NDArray[np.float32]
    flagged: Flagged | None = None

    def unlike(self, images: Images, embeddings: NDArray[np.float32]) -> Floats:
        """(N,) how unlike images (C, H, W) are: 0 for the median, familiar up to 1."""
        if not len(images):
            return np.zeros(0)
        features = features_of(self.pixels, self.vectors, images, embeddings)
        return features @ self.weights.astype(np.float64) + float(self.offset[0])

    def figures(self) -> dict[str, float]:
        """Figures for a model's card; none where nothing was measured."""
        found = {} if self.flagged is None else self.flagged._asdict()
        return {f"flagged_{k}": round(v, 6) for k, v in found.items() if v is not None}

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What a model folder keeps."""
        of_parts = {
            f"{name}.{field.name}": getattr(getattr(self, name), field.name)
            for name in ("pixels", "vectors")
            for field in fields(Subspace)
        }
        return {**of_parts, "weights": self.weights, "offset": self.offset}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]]) -> "Familiarity":
        """What ``tensors`` gave."""
        pixels, vectors = (
            Subspace(*(tensors[f"{name}.{field.name}"] for field in fields(Subspace)))
            for name in ("pixels", "vectors")
        )
        return cls(pixels, vectors, tensors["weights"], tensors["offset"])


def features_of(
    pixels: Subspace, vectors: Subspace, images: Images, embeddings: NDArray[np.float32]
) -> Floats:
    """(N, F) of N images and their embeddings (N, D)."""
    standard, light = standardised(images)
    small = standard.reshape(len(standard), SIDE, SIDE)
    edges = [np.abs(np.diff(small, axis=axis)).mean((1, 2)) for axis in (1, 2)]
    between = (np.abs(small) < 0.5).mean((1, 2))  # neither dark nor light
    lengths = np.linalg.norm(embeddings, axis=1)
    others = np.stack([*light, *edges, between, np.log(np.maximum(lengths, SMALLEST))], 1)
    points = embeddings.astype(np.float64)
    return np.hstack([pixels.features(standard), vectors.features(points), others])


def standardised(images: Images) -> tuple[Floats, tuple[Floats, Floats]]:
    """Grey pixels (N, P) at mean 0 and deviation 1; their means, and log deviations."""
    small = np.stack([_shrunk(image) for image in images]).reshape(len(images), -1)
    means = small.mean(1)
    small -= means[:, None]
    contrast = np.maximum(small.std(1), SMALLEST)
    return small / contrast[:, None], (means, np.log(contrast))


def _shrunk(image: NDArray[np.uint8]) -> Floats:
    """(SIDE, SIDE) means of parts of an image (C, H, W), in [0, 1]."""
    height, width = image.shape[1:]
    shrunk: Floats = _averaging(height) @ (image.mean(0) / 255) @ _averaging(width).T
    return shrunk


def _averaging(size: int) -> Floats:
    """(SIDE, size): each row weighs a part of ``size`` pixels by their overlap with it."""
    edges, starts = np.linspace(0, size, SIDE + 1), np.arange(size)
    ends = np.minimum(edges[1:, None], starts + 1)
    overlap = np.maximum(ends - np.maximum(edges[:-1, None], starts), 0)
    weights: Floats = overlap / overlap.sum(1, keepdims=True)
    return weights


def of_both(left: Reason, right: Reason) -> Reason:
    """Why one of two images is not familiar."""
    if left is None and right is None:
        return None
    return left or right or ""
