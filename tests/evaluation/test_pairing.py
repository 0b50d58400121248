"""Which pairs are taken: against plain loops, and by their counts."""

import numpy as np
import pytest

from onelook.data.items import Dataset, Pairs
from onelook.errors import DataError
from onelook.evaluation.pairing import (
    draw_pairs,
    folder_classes,
    koch_pairs,
    sample_pairs,
)

LABELS = np.array([3, 0, 1, 3, 0, 0, 2, 1, 3, 3])


def as_set(left, right):
    pairs = {
        tuple(sorted(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True)
    }
    assert len(pairs) == len(left), "a pair is repeated"
    return pairs


def every_pair(same):
    n = len(LABELS)
    return {
        (i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if (LABELS[i] == LABELS[j]) == same
    }


def test_all_pairs_are_those_of_a_plain_loop():
    assert as_set(*sample_pairs(LABELS, None, 0)) == every_pair(True) | every_pair(False)


def test_a_sample_takes_all_same_pairs_where_they_are_few():
    left, right = sample_pairs(LABELS, 25, 0)
    same = LABELS[left] == LABELS[right]
    assert as_set(left[same], right[same]) == every_pair(True)
    assert len(left) == 25 and as_set(left[~same], right[~same]) < every_pair(False)


def test_a_sample_is_balanced_and_repeatable():
    left, right = sample_pairs(LABELS, 12, 5)
    assert (LABELS[left] == LABELS[right]).sum() == 6 and len(as_set(left, right)) == 12
    np.testing.assert_array_equal(sample_pairs(LABELS, 12, 5)[0], left)
    assert not np.array_equal(sample_pairs(LABELS, 12, 6)[0], left)


def test_every_pair_is_drawn_equally_often():
    counts = dict.fromkeys(every_pair(True) | every_pair(False), 0)
    for seed in range(1200):
        for pair in as_set(*sample_pairs(LABELS, 12, seed)):
            counts[pair] += 1
    for same in (True, False):
        share = 6 / len(every_pair(same))
        times = np.array([counts[pair] for pair in every_pair(same)])
        spread = np.sqrt(1200 * share * (1 - share))
        assert (np.abs(times - 1200 * share) < 5 * spread).all()


def test_a_million_items_are_sampled_without_listing_their_pairs():
    labels = np.arange(1_000_000) // 5
    left, right = sample_pairs(labels, 10_000, 0)
    assert (labels[left] == labels[right]).sum() == 5000
    assert (left != right).all()


def test_sampling_needs_both_kinds_of_pairs():
    with pytest.raises(DataError, match="3 items of 3 classes make 0 same and 3 different"):
        sample_pairs(np.arange(3), None, 0)
    with pytest.raises(DataError, match="make 3 same and 0 different"):
        sample_pairs(np.zeros(3, int), 2, 0)


def test_folders_are_classes_only_where_they_agree_with_the_truth():
    left, right = ("f.zip!/ada/1.jpg", "x/ada/2.jpg"), ("f.zip!/ada/2.jpg", "x/bob/1.jpg")
    same = np.array([True, False])
    assert folder_classes(Pairs(left, right, same)) == (
        ["f.zip/ada", "x/ada"],
        ["f.zip/ada", "x/bob"],
    )
    assert folder_classes(Pairs(left, right, ~same)) is None
    assert folder_classes(Pairs(left, right)) is None


def drawn_alphabets():
    """Three alphabets of 4, 5 and 6 characters by 3 drawers."""
    labels = np.repeat(np.arange(15), 3)
    return Dataset(
        name="drawn",
        paths=tuple(f"{label}/{i % 3}" for i, label in enumerate(labels)),
        labels=labels,
        class_names=tuple(map(str, range(15))),
        groups=np.repeat([0, 1, 2], [12, 15, 18]),
        group_names=("a", "b", "c"),
        drawers=np.tile([1, 2, 3], 15),
    )


def test_koch_pairs_are_half_same_and_equal_in_every_alphabet():
    dataset = drawn_alphabets()
    pairs = koch_pairs(dataset, 600, seed=0)
    row = {path: i for i, path in enumerate(dataset.paths)}
    left = np.array([row[path] for path in pairs.left])
    right = np.array([row[path] for path in pairs.right])
    np.testing.assert_array_equal(
        dataset.labels[left] == dataset.labels[right], pairs.is_same
    )
    assert (left != right).all()
    for is_same in (True, False):
        groups = dataset.groups[left[pairs.is_same == is_same]]
        np.testing.assert_array_equal(np.bincount(groups), [100, 100, 100])
    np.testing.assert_array_equal(dataset.groups[left], dataset.groups[right])


def test_koch_pairs_refuse_what_they_cannot_halve():
    with pytest.raises(ValueError, match="must be even, .* got 7"):
        koch_pairs(drawn_alphabets(), 7, 0)


def test_drawn_pairs_give_every_class_the_same_chance():
    labels = np.repeat(np.arange(4), [90, 2, 2, 1])
    left, right = draw_pairs(labels, 20_000, 20_000, seed=0)
    same = labels[left] == labels[right]
    assert same[:20_000].all() and not same[20_000:].any()
    assert (left != right).all()
    share = np.bincount(labels[left[:20_000]], minlength=4) / 20_000
    assert share == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=0.02)
    different = np.concatenate([labels[left[20_000:]], labels[right[20_000:]]])
    assert np.bincount(different) / 40_000 == pytest.approx([0.25] * 4, abs=0.02)
    items = np.bincount(np.concatenate([left, right])[labels[np.r_[left, right]] == 0])
    assert items.min() > 0.6 * items.mean()  # and every item of a class


def test_drawn_pairs_stay_within_groups():
    labels, groups = np.repeat(np.arange(5), 2), np.repeat([7, 7, 9, 9, 8], 2)
    left, right = draw_pairs(labels, 0, 1000, seed=0, groups=groups)
    np.testing.assert_array_equal(groups[left], groups[right])
    assert set(labels[left]) == {0, 1, 2, 3}  # class 4 is alone in its group


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_drawn_pairs_need_both_kinds(labels):
    with pytest.raises(DataError, match="a class of two items and another class"):
        draw_pairs(np.array(labels), 5, 5, seed=0)
