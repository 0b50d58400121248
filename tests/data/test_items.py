"""Dataset: columns that fit, subsets that renumber, splits that share nothing."""

from dataclasses import replace

import numpy as np
import pytest

from onelook.data.items import Dataset
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


@pytest.mark.parametrize("unit", ["class", "group"])
def test_splits_share_no_class_and_lose_no_item(unit):
    whole = letters()
    split = whole.split_by_class if unit == "class" else whole.split_by_group
    parts = split({"train": 0.5, "val": 0.25, "test": 0.25}, seed=3)
    assert sorted(p for part in parts.values() for p in part.paths) == sorted(whole.paths)
    names = [
        part.class_names if unit == "class" else part.group_names for part in parts.values()
    ]
    assert sum(map(len, names)) == len(set().union(*names))
    assert all(len(some) for some in names)


def test_a_split_is_its_seed_s():
    whole = letters()
    shares = {"train": 0.5, "test": 0.5}
    first, again = whole.split_by_class(shares, 1), whole.split_by_class(shares, 1)
    assert first["train"].paths == again["train"].paths
    assert any(
        whole.split_by_class(shares, s)["train"].paths != first["train"].paths
        for s in range(5)
    )


@pytest.mark.parametrize(
    "shares",
    [(0.5, 0.0001, 0.4999), (0.98, 0.01, 0.01), (0.01, 0.01, 0.98), (0.3, 0.3, 0.4)],
)
@pytest.mark.parametrize("n_classes", [3, 4, 10])
def test_every_part_keeps_a_class_however_small_its_share(shares, n_classes):
    whole = letters(n_classes)
    parts = whole.split_by_class(dict(zip("abc", shares, strict=True)), seed=0)
    counts = [part.n_classes for part in parts.values()]
    assert min(counts) >= 1 and sum(counts) == n_classes


def test_impossible_splits_are_refused():
    with pytest.raises(ValueError, match="must add up to 1"):
        letters().split_by_class({"train": 0.5, "test": 0.4}, 0)
    with pytest.raises(DataError, match="3 groups, too few for 4 parts"):
        letters().split_by_group(dict.fromkeys("abcd", 0.25), 0)
    with pytest.raises(DataError, match="no groups to split by"):
        replace(letters(), groups=None).split_by_group({"a": 1.0}, 0)


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
    fractions = {"train": 0.7, "validation": 0.3}
    parts = whole.split_by_name(fractions, seed=3)
    names = {part: set(data.class_names) for part, data in parts.items()}
    assert names["train"] | names["validation"] == set(whole.class_names)
    assert not names["train"] & names["validation"]
    assert 0.2 < len(names["validation"]) / 200 < 0.4
    some = whole.subset(whole.labels % 3 == 1)
    for part, data in some.split_by_name(fractions, seed=3).items():
        assert set(data.class_names) == names[part] & set(some.class_names)
    other = whole.split_by_name(fractions, seed=4)["validation"]
    assert set(other.class_names) != names["validation"]


def test_a_split_by_name_that_leaves_a_part_empty_is_refused():
    with pytest.raises(DataError, match="none of their names falls to validation"):
        letters(2).split_by_name({"train": 0.999, "validation": 0.001}, seed=0)
    with pytest.raises(ValueError, match="must add up to 1"):
        letters().split_by_name({"train": 0.9}, seed=0)
