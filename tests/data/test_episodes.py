"""Episodes: class-major, nothing twice, drawers apart."""

from collections import Counter

import numpy as np
import pytest

from onelook.data.episodes import sample_episodes
from onelook.errors import DataError

# 12 classes of 1 to 6 items in 4 groups, shuffled. Class 11 is alone in its group.
SIZES = np.array([1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 3])
GROUP_OF_CLASS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3])
LABELS = np.random.default_rng(5).permutation(np.repeat(np.arange(12), SIZES))
GROUPS = GROUP_OF_CLASS[LABELS]


def counts(n_way, n_shot, n_query, n_episodes):
    values = (n_way, n_shot, n_query, n_episodes)
    return dict(zip(("n_way", "n_shot", "n_query", "n_episodes"), values, strict=True))


def test_episodes_are_class_major_and_repeat_nothing():
    episodes = sample_episodes(LABELS, **counts(4, 2, 1, 300), seed=1)
    assert episodes.support.shape == (300, 8) and episodes.query.shape == (300, 4)
    support = LABELS[episodes.support].reshape(300, 4, 2)
    query = LABELS[episodes.query].reshape(300, 4, 1)
    assert (support == support[:, :, :1]).all() and (query == support[:, :, :1]).all()
    for row in range(300):
        items = np.concatenate([episodes.support[row], episodes.query[row]])
        assert len(set(items)) == 12 and len(set(support[row, :, 0])) == 4
    assert episodes.query_ways.tolist() == [0, 1, 2, 3]
    again = sample_episodes(LABELS, **counts(4, 2, 1, 300), seed=1)
    assert np.array_equal(episodes.support, again.support)
    assert set(support[:, :, 0].ravel()) == set(np.flatnonzero(SIZES >= 3))


def omniglot_like(n_drawers=6):
    classes = np.repeat(np.arange(30), n_drawers)
    return classes, classes // 10, np.tile(np.arange(1, n_drawers + 1), 30)


def test_episodes_within_groups_by_drawers():
    labels, groups, drawers = omniglot_like()
    episodes = sample_episodes(
        labels, **counts(5, 1, 2, 90), seed=0, groups=groups, drawers=drawers
    )
    assert np.bincount(episodes.groups).tolist() == [30, 30, 30]
    for row in range(90):
        support, query = episodes.support[row], episodes.query[row]
        assert set(groups[support]) == set(groups[query]) == {episodes.groups[row]}
        assert len(set(drawers[support])) == 1
        assert len(set(drawers[query])) == 2
        assert not set(drawers[support]) & set(drawers[query])


def test_episodes_leave_out_classes_that_a_drawer_has_not_drawn():
    labels, groups, drawers = omniglot_like()
    keep = ~((labels == 3) & (drawers == 2))
    episodes = sample_episodes(
        labels[keep],
        **counts(9, 1, 1, 60),
        seed=0,
        groups=groups[keep],
        drawers=drawers[keep],
    )
    assert 3 not in labels[keep][episodes.support] and len(set(episodes.groups)) == 3


def test_a_drawer_who_drew_a_class_twice_gives_either_drawing():
    labels, drawers = np.array([0, 0, 0, 1, 1]), np.array([1, 1, 2, 1, 2])
    episodes = sample_episodes(labels, **counts(2, 1, 1, 400), seed=0, drawers=drawers)
    used = Counter(np.concatenate([episodes.support, episodes.query], axis=1).ravel())
    assert used[2] == used[3] == used[4] == 400
    assert used[0] + used[1] == 400 and 150 < used[0] < 250


def test_impossible_episodes_fail_with_numbers():
    with pytest.raises(
        DataError,
        match=r"n_way=20 needs 20 classes with at least 6 images "
        r"\(n_shot=1 \+ n_query=5\); 2 of 12 classes have them",
    ):
        sample_episodes(LABELS, **counts(20, 1, 5, 10), seed=0)
    with pytest.raises(
        DataError, match="11 of 12 classes have them, at most 4 in one group"
    ):
        sample_episodes(LABELS, **counts(5, 1, 1, 10), seed=0, groups=GROUPS)
    labels, groups, drawers = omniglot_like(2)
    with pytest.raises(
        DataError, match="by every drawer, and at least 3 drawers .*; 0 of 30"
    ):
        sample_episodes(
            labels, **counts(5, 1, 2, 10), seed=0, groups=groups, drawers=drawers
        )
