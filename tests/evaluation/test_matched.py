"""An item finds its own other side among those of its group and drawer."""

import numpy as np
import pytest

from onelook.errors import DataError
from onelook.evaluation.matched import matched_correct


def products(left, right):
    return left @ right.T


def test_an_item_competes_with_the_other_classes_of_its_group_and_drawer_alone():
    left = np.eye(4, dtype=np.float32)
    right = np.array(
        [[1, 0, 0, 0], [0, 1, 3, 0], [3, 0, 2, 0], [0, 0, 0, 1]], dtype=np.float32
    )
    labels = np.arange(4)
    # Item 0 scores 1 with its own side and 3 with that of item 2; item 2 scores 2 and 3.
    found = matched_correct(left, right, labels, None, None, 4, 0, products)
    assert found.tolist() == [False, True, False, True]
    # Item 2 is of another drawer now, so neither 0 nor 1 meets it.
    drawers = np.array([0, 0, 1, 1])
    found = matched_correct(left, right, labels, None, drawers, 4, 0, products)
    assert found.tolist() == [True, True, True, True]
    groups = np.array([0, 1, 0, 1])
    found = matched_correct(left, right, labels, groups, None, 4, 0, products)
    assert found.tolist() == [False, True, True, True]


def test_a_tie_is_wrong_and_an_item_of_its_own_class_is_no_rival():
    left = right = np.ones((3, 2), dtype=np.float32)
    tied = matched_correct(left, right, np.array([0, 0, 1]), None, None, 3, 0, products)
    assert tied.tolist() == [False, False, False]
    alone = matched_correct(left, right, np.zeros(3, np.int64), None, None, 3, 0, products)
    assert alone.tolist() == [True, True, True]


def test_nothing_to_match_is_an_error():
    none = np.zeros((0, 2), np.float32)
    with pytest.raises(DataError, match="no items to match"):
        matched_correct(none, none, np.zeros(0, np.int64), None, None, 3, 0, products)
