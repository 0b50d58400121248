"""Filters against scipy's, bit for bit."""

import numpy as np
import pytest
from scipy import ndimage

from onelook.data.inputs.filters import blurred, boxes_of, connected, least_around, median

EIGHT = np.ones((3, 3))


@pytest.fixture
def values():
    return np.random.default_rng(0).random((60, 41)).astype(np.float32)


@pytest.mark.parametrize("mode, name", [("symmetric", "reflect"), ("edge", "nearest")])
def test_blurred_is_scipys_gaussian_filter(values, mode, name):
    for spread in (0.7, 1.5):
        expected = ndimage.gaussian_filter(values, spread, mode=name)
        np.testing.assert_array_equal(blurred(values, spread, mode), expected)


@pytest.mark.parametrize("side", [3, 4, 9])
def test_median_is_scipys_median_filter(values, side):
    expected = ndimage.median_filter(values, side, mode="nearest")
    np.testing.assert_array_equal(median(values, side), expected)


def test_least_around_is_scipys_minimum_filter_and_distance_transform(values):
    expected = ndimage.minimum_filter(values, 7)
    np.testing.assert_array_equal(least_around(values, 3), expected)
    marked = values > 0.98
    squared = least_around(np.where(marked, 0, np.inf), 6, slope=1)
    distance = ndimage.distance_transform_edt(~marked)
    near = distance <= 6
    np.testing.assert_array_equal(np.sqrt(squared)[near], distance[near])
    assert near.any() and (np.sqrt(squared)[~near] > 6).all()


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 1])
def test_connected_numbers_spots_and_boxes_as_scipy_does(values, share):
    drawn = values < share
    spots, n_spots = ndimage.label(drawn, EIGHT)
    np.testing.assert_array_equal(connected(drawn), spots)
    places = ndimage.find_objects(spots)
    expected = [(x.start, y.start, x.stop, y.stop) for y, x in places]
    np.testing.assert_array_equal(boxes_of(spots), np.reshape(expected, (n_spots, 4)))
