"""Pairs for calibration: every class counts alike; different pairs within groups."""

import numpy as np
import pytest

from onelook.calibration.pairs import (
    folds_of,
    listed_pairs,
    score_drawn_pairs,
    useful_groups,
)
from onelook.data.items import Pairs
from onelook.errors import DataError


class Numbers:
    """A scorer of numbers; texts are numbers too."""

    shared = True

    def embed(self, addresses, side="left"):
        return np.array([[float(a.rsplit("/", 1)[-1])] for a in addresses], np.float32)

    def score(self, left, right):
        return -np.abs(left - right)[:, 0]


def test_classes_count_alike_however_many_items_they_have():
    labels = np.array([0] * 50 + [1] * 2 + [2] * 2 + [3])
    values = labels[:, None].astype(np.float32)
    drawn = score_drawn_pairs(Numbers(), values, values, labels, None, seed=0)
    assert drawn.n_same == 1225 + 2 and drawn.n_different == 50 * 5 + 2 * 3 + 2
    same = drawn.left[drawn.is_same]
    assert (drawn.left == drawn.right)[drawn.is_same].all()
    for one in (0, 1, 2):
        assert (same == one).mean() == pytest.approx(1 / 3, abs=0.02)
    different = np.stack([drawn.left, drawn.right])[:, ~drawn.is_same]
    assert (different[0] != different[1]).all()
    for one in range(4):
        assert (different == one).any(axis=0).mean() == pytest.approx(1 / 2, abs=0.05)


def test_different_pairs_lie_within_a_group():
    labels = np.repeat(np.arange(12), 3)
    groups = labels // 4
    values = groups[:, None].astype(np.float32)
    drawn = score_drawn_pairs(Numbers(), values, values, labels, groups, seed=0)
    assert (drawn.scores == 0).all()
    assert drawn.pairs == "two classes of one group"
    assert drawn.n_different == 3 * 6 * 9


def test_a_pair_is_never_an_item_with_itself():
    labels = np.repeat(np.arange(5), 2)
    values = np.arange(10, dtype=np.float32)[:, None]
    drawn = score_drawn_pairs(Numbers(), values, values, labels, None, seed=0)
    assert (drawn.scores < 0).all()


def test_too_little_is_refused_with_counts():
    values = np.zeros((4, 1), np.float32)
    with pytest.raises(ValueError, match="4 items of 4 classes make 0 same and 6"):
        score_drawn_pairs(Numbers(), values, values, np.arange(4), None, seed=0)


def test_groups_that_hold_single_classes_are_not_used():
    labels = np.repeat(np.arange(6), 2)
    assert useful_groups(labels, labels) is None
    assert useful_groups(labels, np.zeros_like(labels)) is None
    assert useful_groups(labels, labels // 3) is not None
    assert useful_groups(labels, None) is None


def test_folds_keep_whole_groups_together():
    labels = np.repeat(np.arange(12), 2)
    folds = folds_of(labels, labels // 3, seed=0)
    assert len(folds) == 12 and len(set(folds)) == 4
    assert all(len(set(folds[i : i + 3])) == 1 for i in range(0, 12, 3))
    assert sorted(np.bincount(folds_of(labels, None, 0))) == [2, 2, 2, 3, 3]


def test_files_of_same_pairs_are_one_class_where_folders_do_not_tell():
    pairs = Pairs(
        ("1", "2", "4", "1"), ("2", "3", "5", "4"),
        is_same=np.array([True, True, True, False]),
    )  # fmt: skip
    drawn = listed_pairs(Numbers(), pairs)
    assert drawn.n_classes == 2 and (drawn.n_same, drawn.n_different) == (3, 1)
    assert drawn.left[0] == drawn.right[1] != drawn.left[2]
    assert drawn.scores.tolist() == [-1, -1, -1, -3]
    foldered = Pairs(("a/1", "a/2"), ("a/2", "b/1"), is_same=np.array([True, False]))
    assert listed_pairs(Numbers(), foldered).n_classes == 2


def test_graded_pairs_are_refused():
    graded = Pairs(("1",), ("2",), targets=np.array([3.0], np.float32), source="SICK")
    with pytest.raises(DataError, match="SICK: its pairs are graded"):
        listed_pairs(Numbers(), graded)
