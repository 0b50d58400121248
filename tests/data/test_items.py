"""Dataset: columns that fit, subsets that renumber, splits that share nothing."""

from dataclasses import replace

import numpy as np
import pytest

from onelook.data.items import Dataset, Pairs, connected_components
from onelook.errors import DataError


def letters(n_classes: int = 12, each: int = 3, per_group: int = 4) -> Dataset:
    labels = np.repeat(np.arange(n_classes, dtype=np.int64), each)
    groups = labels // per_group
    return Dataset(
        name="letters",
        paths=tuple(f"a/b/g{groups[i]}/c{c}/{i}.png" for i, c in enumerate(labels)),
        labels=labels,
        class_names=tuple(f"c{c}" for c in range(n_classes)),
        groups=groups,
        group_names=tuple(f"g{g}" for g in range(groups.max() + 1)),
        drawers=np.tile(np.arange(1, each + 1, dtype=np.int64), n_classes),
        splits=np.where(labels < 6, "train", "test"),
    )


def test_columns_of_another_length_are_refused():
    with pytest.raises(DataError, match="letters: drawers has 2 entries for 36 items"):
        replace(letters(), drawers=np.array([1, 2]))


@pytest.mark.parametrize(("column", "names"), [("labels", 12), ("groups", 3)])
def test_a_number_without_a_name_is_refused(column, names):
    values = np.full(36, names, dtype=np.int64)
    with pytest.raises(DataError, match=f"{column} reach from {names} to {names}"):
        replace(letters(), **{column: values})


def test_a_subset_keeps_each_item_s_own_names():
    whole = letters()
    keep = np.array([35, 0, 14])
    part = whole.subset(keep)
    assert part.paths == tuple(whole.paths[i] for i in keep)
    assert part.n_classes == 3 and set(np.unique(part.labels)) == {0, 1, 2}
    for new, old in enumerate(keep):
        assert part.class_names[part.labels[new]] == whole.class_names[whole.labels[old]]
        assert part.group_names[part.groups[new]] == whole.group_names[whole.groups[old]]
        assert part.drawers[new] == whole.drawers[old]
        assert part.splits[new] == whole.splits[old]


def test_a_mask_selects_like_its_indices_and_must_fit():
    whole = letters()
    mask = whole.labels == 5
    assert whole.subset(mask).paths == whole.subset(np.flatnonzero(mask)).paths
    with pytest.raises(IndexError):
        whole.subset(mask[:-1])


def test_an_empty_subset_is_an_empty_dataset():
    none = letters().subset(np.zeros(36, dtype=bool))
    assert len(none) == 0 and none.n_classes == 0 and none.group_names == ()


def test_of_split_and_of_groups_say_what_is_known():
    whole = letters()
    assert whole.of_split("train").n_classes == 6
    assert set(whole.of_groups(["g1"]).class_names) == {"c4", "c5", "c6", "c7"}
    with pytest.raises(DataError, match="no split 'val'; known: test, train"):
        whole.of_split("val")
    with pytest.raises(DataError, match="no group g9; known: g0, g1, g2"):
        whole.of_groups(["g0", "g9"])
    with pytest.raises(DataError, match="known: none"):
        replace(whole, splits=None).of_split("train")


@pytest.mark.parametrize("by", ["class", "group"])
def test_what_is_held_out_shares_no_class_and_nothing_is_lost(by):
    whole = letters()
    train, held = whole.hold_out(0.25, 3, by)
    assert sorted(train.paths + held.paths) == sorted(whole.paths)
    names = "class_names" if by == "class" else "group_names"
    assert not set(getattr(train, names)) & set(getattr(held, names))
    assert len(train) and len(held)
    if by == "group":  # without groups, classes
        assert replace(whole, groups=None).hold_out(0.25, 3, by)[1].n_classes == 3


def test_a_split_is_its_seed_s():
    whole = letters()
    first = whole.hold_out(0.5, 1)[1].paths
    assert whole.hold_out(0.5, 1)[1].paths == first
    assert any(whole.hold_out(0.5, seed)[1].paths != first for seed in range(5))


@pytest.mark.parametrize("fraction", [0.0001, 0.3, 0.99])
@pytest.mark.parametrize("n_classes", [2, 4, 10])
def test_both_parts_keep_a_class_however_small_their_fraction(fraction, n_classes):
    train, held = letters(n_classes).hold_out(fraction, seed=0)
    assert min(train.n_classes, held.n_classes) >= 1
    assert held.n_classes == min(max(round(fraction * n_classes), 1), n_classes - 1)


def test_a_single_class_cannot_be_held_out():
    with pytest.raises(DataError, match="has 1 classes, too few to hold one out"):
        letters(1).hold_out(0.5, 0)


def test_the_fingerprint_is_the_data_s_and_not_the_place_s():
    whole = letters()
    assert len(whole.fingerprint) == 16
    moved = replace(whole, paths=tuple("/else/where.zip!/" + p for p in whole.paths))
    assert moved.fingerprint == whole.fingerprint
    relabelled = replace(whole, labels=whole.labels[::-1].copy())
    renamed = replace(whole, paths=("x/y/z.png", *whole.paths[1:]))
    assert len({whole.fingerprint, relabelled.fingerprint, renamed.fingerprint}) == 3


def test_a_file_name_that_is_not_utf8_has_a_fingerprint():
    assert replace(letters(), paths=("a/\udcff.png", *letters().paths[1:])).fingerprint


def test_a_class_goes_by_its_name_whatever_else_is_there():
    whole = letters(n_classes=200)
    train, held = (set(part.class_names) for part in whole.hold_out(0.3, 3, "name"))
    assert train | held == set(whole.class_names) and not train & held
    assert 0.2 < len(held) / 200 < 0.4
    some = whole.subset(whole.labels % 3 == 1)
    assert set(some.hold_out(0.3, 3, "name")[1].class_names) == held & set(some.class_names)
    assert set(whole.hold_out(0.3, 4, "name")[1].class_names) != held
    with pytest.raises(DataError, match="seed 0 holds out all or none"):
        letters(2).hold_out(0.001, 0, "name")


def test_components_match_a_plain_search():
    rng = np.random.default_rng(0)
    for n, m in ((1, 0), (6, 3), (40, 25), (200, 150)):
        left, right = rng.integers(0, n, (2, m))
        expected = -np.ones(n, int)
        for start in range(n):
            waiting = [start] if expected[start] < 0 else []
            while waiting:
                node = waiting.pop()
                if expected[node] < 0:
                    expected[node] = start
                    waiting += [*right[left == node], *left[right == node]]
        found = connected_components(n, left, right)
        assert found.tolist() == np.unique(expected, return_inverse=True)[1].tolist()
    chain = np.arange(999)
    assert connected_components(1000, chain, chain + 1).max() == 0


def test_items_joined_by_same_pairs_are_one_identity():
    pairs = Pairs(("a", "b", "c", "a"), ("b", "c", "d", "e"), np.array([1, 1, 0, 0], bool))
    items = pairs.with_identities().items()
    assert items.paths == tuple("abcde") and items.labels.tolist() == [0, 0, 0, 1, 2]
    assert len(pairs.within(("a", "b", "e"))) == 2
    with pytest.raises(DataError, match="graded, not same or different"):
        replace(pairs, is_same=None).with_identities()
