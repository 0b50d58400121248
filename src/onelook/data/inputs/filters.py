"""Filters of pictures (H, W) in NumPy: scipy takes longer to import than a comparison."""

from typing import Literal, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onelook.data.items import connected_components

Real = TypeVar("Real", np.float32, np.float64)


def blurred(
    values: NDArray[np.float32],
    spread: float,
    mode: Literal["symmetric", "edge"] = "symmetric",
) -> NDArray[np.float32]:
    """Gaussian blur of standard deviation ``spread``; beyond the rim as ``np.pad`` says."""
    reach = int(4 * spread + 0.5)
    weights = np.exp(-0.5 / spread**2 * np.arange(-reach, reach + 1) ** 2)
    weights = (weights / weights.sum())[reach:]
    for _ in range(2):
        wide = np.pad(values, ((reach, reach), (0, 0)), mode).astype(np.float64)
        n = len(values)
        total = wide[reach : reach + n] * weights[0]
        pair = np.empty_like(total)
        for step in range(reach, 0, -1):
            np.add(wide[reach - step :][:n], wide[reach + step :][:n], out=pair)
            pair *= weights[step]
            total += pair
        values = np.ascontiguousarray(total.astype(np.float32).T)
    return values


def median(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The median of the square of ``side`` pixels around each; the rim goes on beyond."""
    wide = np.pad(values, (side // 2, side - 1 - side // 2), "edge")
    around = sliding_window_view(wide, (side, side)).reshape(*values.shape, side**2)
    middle: NDArray[np.float32] = np.partition(around, side**2 // 2)[..., side**2 // 2]
    return middle


def least_around(values: NDArray[Real], reach: int, slope: int = 0) -> NDArray[Real]:
    """The least value within ``reach`` rows and columns, plus ``slope`` x distance squared.

    From 0 at some pixels and infinity elsewhere, a slope of 1 makes the squared distance to
    the nearest of these pixels, exact as far as ``reach``.
    """
    for _ in range(2):
        least = values.copy()
        for step in range(1, min(reach + 1, len(values))):
            rise = slope * step**2
            np.minimum(least[step:], values[:-step] + rise, out=least[step:])
            np.minimum(least[:-step], values[step:] + rise, out=least[:-step])
        values = np.ascontiguousarray(least.T)
    return values


def connected(drawn: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number (H, W), from 1, of the spot that each pixel belongs to; 0 = not drawn.

    Pixels that touch, at a corner too, are one spot.
    """
    height, width = drawn.shape
    flat = np.pad(drawn, ((0, 0), (1, 1))).ravel()  # no run goes on into the next row
    starts, ends = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2).T + 1
    first = np.searchsorted(ends, starts + width + 2)
    n_below = np.searchsorted(starts, ends + width + 2, "right") - first
    above = np.repeat(np.arange(len(starts)), n_below)
    below = np.arange(len(above)) + np.repeat(first - np.cumsum(n_below) + n_below, n_below)
    numbers = connected_components(len(starts), above, below) + 1
    spots = np.zeros(flat.shape, np.int64)
    spots[flat] = np.repeat(numbers, ends - starts)
    return spots.reshape(height, -1)[:, 1:-1]


def boxes_of(spots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Left, top, right and bottom (N, 4) of N spots that ``connected`` has numbered."""
    ys, xs = np.nonzero(spots)
    numbers = spots[ys, xs] - 1
    boxes = np.zeros((int(spots.max()), 4), np.int64)
    boxes[:, :2] = max(spots.shape)
    for column, place in enumerate((xs, ys)):
        np.minimum.at(boxes[:, column], numbers, place)
        np.maximum.at(boxes[:, column + 2], numbers, place + 1)
    return boxes
