import time
from collections import Counter

import numpy as np
import pytest

from onelook.data.episodes import sample_episodes
from onelook.data.sampling import (
    BalancedPairs,
    ClassBatches,
    PairListBatches,
    Triplets,
    split_virtual,
    turned,
)
from onelook.errors import DataError

# 12 classes of 1 to 6 items in 4 groups, shuffled. Class 11 is alone in its group.
SIZES = np.array([1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 3])
GROUP_OF_CLASS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3])
LABELS = np.random.default_rng(5).permutation(np.repeat(np.arange(12), SIZES))
GROUPS = GROUP_OF_CLASS[LABELS]
COLUMNS = (
    "items labels left right is_same targets anchor positive negative".split()
)  # of a Batch


def counts(n_way, n_shot, n_query, n_episodes):
    values = (n_way, n_shot, n_query, n_episodes)
    return dict(zip(("n_way", "n_shot", "n_query", "n_episodes"), values, strict=True))


def batches_equal(one, other):
    return all(np.array_equal(getattr(one, c), getattr(other, c)) for c in COLUMNS)


def samplers():
    return {
        "pairs": BalancedPairs(LABELS, 16, 3, groups=GROUPS, within_group=0.5),
        "triplets": Triplets(LABELS, 16, 3, groups=GROUPS, within_group=0.5),
        "classes": ClassBatches(
            LABELS, 5, 2, seed=3, groups=GROUPS, within_group=0.5, rotations=4
        ),
        "pair-list": PairListBatches(
            np.arange(50), np.arange(50, 100), 8, seed=3, is_same=np.arange(50) % 2 == 0
        ),
    }


@pytest.mark.parametrize("name", samplers())
def test_a_batch_depends_on_seed_and_step_and_not_on_history(name):
    fresh, used = samplers()[name], samplers()[name]
    for step in (7, 0, 3, 12):
        used.batch(step)
    assert batches_equal(fresh.batch(5), used.batch(5))
    assert batches_equal(fresh.batch(5), fresh.batch(5))
    assert not np.array_equal(fresh.batch(5).items, fresh.batch(6).items)


@pytest.mark.parametrize("cls", [BalancedPairs, Triplets])
def test_another_seed_gives_other_batches(cls):
    assert not np.array_equal(
        cls(LABELS, 16, 1).batch(0).items, cls(LABELS, 16, 2).batch(0).items
    )


class NeverOpened:
    """A data set that fails when an item of it is opened."""

    labels, groups = LABELS, GROUPS

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        raise AssertionError(f"item {index} was opened")


def test_sampling_opens_no_item():
    data = NeverOpened()
    for cls in (BalancedPairs, Triplets):
        cls(data.labels, 8, 0, groups=data.groups, within_group=0.5).batch(0)
    ClassBatches(data.labels, 3, 2, seed=0, groups=data.groups, within_group=0.5).batch(0)
    sample_episodes(data.labels, **counts(3, 1, 1, 4), seed=0, groups=data.groups)
    with pytest.raises(AssertionError, match="was opened"):
        BalancedPairs(data, 8, 0)


def test_balanced_pairs_are_half_same_and_say_the_truth():
    pairs = BalancedPairs(LABELS, 64, 0)
    for step in range(50):
        batch = pairs.batch(step)
        left, right = batch.items[batch.left], batch.items[batch.right]
        assert batch.is_same.sum() == 32
        assert np.array_equal(LABELS[left] == LABELS[right], batch.is_same)
        assert (left != right).all()
        assert np.array_equal(batch.labels, LABELS[batch.items])
        assert np.array_equal(np.concatenate([batch.left, batch.right]), np.arange(128))
        assert batch.items.dtype == batch.left.dtype == np.int64


def test_odd_batches_are_half_same_over_two_steps():
    pairs = BalancedPairs(LABELS, 5, 0)
    assert [int(pairs.batch(step).is_same.sum()) for step in range(4)] == [3, 2, 3, 2]


def chi_square(counts, expected):
    """Per degree of freedom: 1 for fair draws."""
    return ((counts - expected) ** 2 / expected).sum() / (len(expected) - 1)


def test_balanced_pairs_draw_every_possible_pair_as_often_as_they_should():
    # The expected share of each ordered pair comes from a plain double loop.
    labels = np.array([0, 1, 1, 2, 2, 2])
    batch = BalancedPairs(labels, 200_000, 0).batch(0)
    drawn = Counter(
        zip(
            batch.items[batch.left].tolist(), batch.items[batch.right].tolist(), strict=True
        )
    )
    expected = {}
    for left in range(6):
        others = [i for i in range(6) if labels[i] != labels[left]]
        twins = [i for i in range(6) if labels[i] == labels[left] and i != left]
        for right in others:
            expected[left, right] = 100_000 / 6 / len(others)
        for right in twins:  # left is one of the five items that have a twin
            expected[left, right] = 100_000 / 5 / len(twins)
    assert drawn.keys() == expected.keys()
    counts = np.array([drawn[pair] for pair in expected])
    assert 0.3 < chi_square(counts, np.array(list(expected.values()))) < 2.0


def test_within_group_negatives_have_the_asked_share():
    labels = np.repeat(np.arange(40), 5)
    groups = labels // 4
    for share in (0.0, 0.3, 1.0):
        batch = BalancedPairs(labels, 40_000, 0, groups=groups, within_group=share).batch(0)
        left, right = batch.items[batch.left], batch.items[batch.right]
        within = (groups[left] == groups[right])[~batch.is_same].mean()
        by_chance = (4 - 1) / (40 - 1)
        assert within == pytest.approx(share + (1 - share) * by_chance, abs=0.01)


def test_a_class_alone_in_its_group_meets_other_groups():
    batch = BalancedPairs(LABELS, 20_000, 0, groups=GROUPS, within_group=1.0).batch(0)
    left, right = batch.items[batch.left], batch.items[batch.right]
    alone = (LABELS[left] == 11) & ~batch.is_same
    assert alone.any() and (LABELS[right][alone] != 11).all()
    assert (GROUPS[left] == GROUPS[right])[~batch.is_same & ~alone].all()


def test_triplets_hold_twins_and_strangers():
    triplets = Triplets(LABELS, 500, 0, groups=GROUPS, within_group=1.0, per_epoch=1200)
    assert triplets.steps_per_epoch == 3
    for step in range(10):
        batch = triplets.batch(step)
        anchor, positive, negative = (
            batch.items[getattr(batch, c)] for c in ("anchor", "positive", "negative")
        )
        assert (LABELS[anchor] == LABELS[positive]).all() and (anchor != positive).all()
        assert (LABELS[anchor] != LABELS[negative]).all()
        inside = LABELS[anchor] != 11
        assert (GROUPS[anchor] == GROUPS[negative])[inside].all()
    assert set(anchor) == set(np.flatnonzero(SIZES[LABELS] > 1))


def test_pair_batches_take_the_same_time_for_ten_and_for_a_hundred_thousand_classes():
    def seconds(n_classes):
        labels = np.repeat(np.arange(n_classes), 4)
        samplers = [
            BalancedPairs(labels, 128, 0, groups=labels // 5, within_group=0.5),
            Triplets(labels, 128, 0, groups=labels // 5, within_group=0.5),
            ClassBatches(labels, 8, 4, seed=0, groups=labels // 5, within_group=0.5),
        ]
        best = np.inf
        for _ in range(7):
            start = time.perf_counter()
            for step in range(60):
                for sampler in samplers:
                    sampler.batch(step)
            best = min(best, time.perf_counter() - start)
        return best

    # A linear cost would be a factor of 10,000; memory caches leave a small one.
    assert seconds(100_000) < 4 * seconds(10)


def test_class_batches_repeat_no_item_and_take_what_small_classes_have():
    sampler = ClassBatches(LABELS, 5, 3, seed=0)
    seen = Counter()
    for step in range(400):
        batch = sampler.batch(step)
        assert len(set(batch.items.tolist())) == len(batch.items)
        assert np.array_equal(batch.labels, LABELS[batch.items])
        classes, starts, counts = np.unique(
            batch.labels, return_index=True, return_counts=True
        )
        assert len(classes) == 5
        assert np.array_equal(counts, np.minimum(SIZES[classes], 3))
        order = np.argsort(starts)  # class-major: each class in one run
        assert np.array_equal(batch.labels, classes[order].repeat(counts[order]))
        seen.update(classes.tolist())
    usable = np.flatnonzero(SIZES >= 2)
    assert sorted(seen) == usable.tolist()
    # 400 batches of 5 of the classes: the same for each, +- 5 standard deviations.
    assert max(abs(n - 400 * 5 / len(usable)) for n in seen.values()) < 50
    whole = np.minimum(SIZES[usable], 3).mean() * 5
    assert sampler.steps_per_epoch == -(-SIZES[usable].sum() // round(whole))


def test_every_subset_of_a_class_is_equally_likely():
    labels = np.repeat([0, 1], 5)
    sampler = ClassBatches(labels, 2, 3, seed=0)
    ordered = Counter()
    for step in range(12_000):
        batch = sampler.batch(step)
        for row in batch.items.reshape(2, 3):
            ordered[tuple(row % 5)] += 1
    counts = np.array(list(ordered.values()))
    assert len(counts) == 5 * 4 * 3  # every order of every subset
    assert 0.3 < chi_square(counts, np.full(60, 400.0)) < 2.0


def test_class_batches_within_a_group_fill_up_from_others():
    sampler = ClassBatches(LABELS, 4, 2, seed=0, groups=GROUPS, within_group=1.0)
    kinds = set()
    for step in range(300):
        classes = np.unique(sampler.batch(step).labels)
        assert len(classes) == 4
        kinds.add(tuple(sorted(Counter(GROUP_OF_CLASS[classes]).values())))
    assert (4,) in kinds  # group 2 has four usable classes
    assert (1, 3) in kinds  # groups 0 and 1 have three
    loose = ClassBatches(LABELS, 4, 2, seed=0, groups=GROUPS)
    whole = [len(set(GROUP_OF_CLASS[loose.batch(step).labels])) == 1 for step in range(300)]
    assert np.mean(whole) < 0.05


def test_quarter_turns_are_new_classes():
    n, n_classes = len(LABELS), 12
    sampler = ClassBatches(
        LABELS, 8, 2, seed=0, groups=GROUPS, within_group=1.0, rotations=4
    )
    plain = ClassBatches(LABELS, 8, 2, seed=0)
    assert sampler.steps_per_epoch == pytest.approx(4 * plain.steps_per_epoch, abs=4)
    turns_seen = set()
    for step in range(100):
        batch = sampler.batch(step)
        items, turns = split_virtual(batch.items, n)
        assert np.array_equal(batch.labels, LABELS[items] + n_classes * turns)
        turns_seen.update(turns.tolist())
    assert turns_seen == {0, 1, 2, 3}


def test_turned_labels_serve_any_sampler():
    labels = turned([0, 1, 1], 4)
    assert labels.tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7]
    batch = BalancedPairs(labels, 500, 0).batch(0)
    items, turns = split_virtual(batch.items, 3)
    assert (turns[batch.left] == turns[batch.right])[batch.is_same].all()


def test_pair_list_gives_every_pair_once_an_epoch_in_even_batches():
    left, right = np.arange(50), np.arange(100, 150)
    targets = np.arange(50) / 50
    sampler = PairListBatches(left, right, 8, seed=0, targets=targets)
    assert sampler.steps_per_epoch == 7
    orders = []
    for epoch in range(2):
        batches = [sampler.batch(epoch * 7 + step) for step in range(7)]
        assert {len(batch.left) for batch in batches} <= {7, 8}
        for batch in batches:
            rows = batch.items[batch.left]
            assert np.array_equal(batch.items[batch.right], rows + 100)
            np.testing.assert_array_equal(batch.targets, np.float32(rows / 50))
            assert batch.is_same is None and batch.targets.dtype == np.float32
        orders.append(np.concatenate([batch.items[batch.left] for batch in batches]))
        assert sorted(orders[-1]) == list(range(50))
    assert not np.array_equal(*orders)


def test_an_item_that_occurs_twice_in_a_pair_list_has_two_slots():
    batch = PairListBatches([4, 4], [4, 9], 2, seed=0, is_same=[True, False]).batch(0)
    assert sorted(batch.items.tolist()) == [4, 4, 4, 9]
    assert batch.is_same.dtype == np.bool_


def test_steps_of_an_epoch_cover_what_was_asked():
    assert BalancedPairs(LABELS, 10, 0).steps_per_epoch == -(-len(LABELS) // 10)
    assert BalancedPairs(LABELS, 10, 0, per_epoch=95).steps_per_epoch == 10
    labels = np.repeat(np.arange(10), 4)
    assert ClassBatches(labels, 5, 2, seed=0).steps_per_epoch == 4
    assert ClassBatches(labels, 5, 2, seed=0, per_epoch=95).steps_per_epoch == 10


def test_impossible_requests_fail_with_numbers():
    with pytest.raises(DataError, match="there are 1 classes, 1 of them with 2 images"):
        BalancedPairs([0, 0], 4, 0)
    with pytest.raises(DataError, match="triplets need .* 3 classes, 0 of them"):
        Triplets([0, 1, 2], 4, 0)
    with pytest.raises(DataError, match="there are 0 classes"):
        BalancedPairs([], 4, 0)
    with pytest.raises(
        DataError, match=r"classes_per_batch=9 .* at least 2 images; 4 of 5 classes"
    ):
        ClassBatches([0, 0, 1, 1, 2, 2, 3, 3, 4], 9, 5, seed=0)
    with pytest.raises(DataError, match="pair list is empty"):
        PairListBatches([], [], 4, seed=0, is_same=[])
    with pytest.raises(DataError, match="all 12 groups have one"):
        BalancedPairs(LABELS, 4, 0, groups=LABELS, within_group=0.5)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="within_group=0.5 needs groups"):
        ClassBatches(LABELS, 4, 2, seed=0, within_group=0.5)
    with pytest.raises(ValueError, match="class 1 lies in 2"):
        BalancedPairs([0, 0, 1, 1], 4, 0, groups=[0, 0, 0, 1])
    with pytest.raises(ValueError, match="n_query must be positive, got 0"):
        sample_episodes(LABELS, **counts(5, 1, 0, 10), seed=0)
