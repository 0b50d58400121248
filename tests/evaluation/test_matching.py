"""An item finds its own other side among those of its group and drawer."""

import dataclasses

import numpy as np
import pytest
from table_scorer import TableScorer

from onelook.data.items import Dataset
from onelook.errors import DataError
from onelook.evaluation.matching import match_sides, matching_trials


def test_matching_asks_every_item_once_among_its_drawer_and_group():
    labels = np.repeat(np.arange(12), 4)
    left = Dataset(
        name="drawings",
        paths=tuple(f"c{c}/d{i % 4}" for i, c in enumerate(labels)),
        labels=labels,
        class_names=tuple(f"c{c}" for c in range(12)),
        groups=labels // 4,
        group_names=("a", "b", "c"),
        drawers=np.arange(48) % 4,
    )
    right_paths = tuple(f"strokes {path}" for path in left.paths)
    pairs = dataclasses.replace(left, right_paths=right_paths)
    generator = np.random.default_rng(0)
    table = {path: generator.normal(size=2) for path in (*left.paths, *right_paths)}
    correct = []
    for i, path in enumerate(left.paths):
        rivals = [
            j
            for j in range(len(left))
            if left.groups[j] == left.groups[i] and left.drawers[j] == left.drawers[i]
        ]
        distances = [np.hypot(*(table[path] - table[right_paths[j]])) for j in rivals]
        correct.append(rivals[int(np.argmin(distances))] == i)
    result = matching_trials(TableScorer(table, shared=False), pairs)
    assert result.accuracy == pytest.approx(np.mean(correct))
    assert result.n_trials == len(left) and result.n_way == 4 and result.chance == 0.25
    fewer = matching_trials(TableScorer(table, shared=False), pairs, n_way=2)
    assert fewer.chance == 0.5 and fewer.accuracy > result.accuracy
    with pytest.raises(DataError, match="have no right side to match"):
        matching_trials(TableScorer(table), left)


def match(left, right, labels, groups=None, drawers=None, n_way=4):
    found = match_sides(
        left,
        right,
        np.array(labels),
        groups,
        drawers,
        n_way=n_way,
        seed=0,
        score_matrix=lambda a, b: a @ b.T,
    )
    return found.credits[np.argsort(found.items)].tolist(), sorted(found.items.tolist())


def test_an_item_competes_with_the_other_classes_of_its_group_and_drawer_alone():
    left = np.eye(4, dtype=np.float32)
    right = np.array(
        [[1, 0, 0, 0], [0, 1, 3, 0], [3, 0, 2, 0], [0, 0, 0, 1]], dtype=np.float32
    )
    labels = np.arange(4)
    # Item 0 scores 1 with its own side and 3 with that of item 2; item 2 scores 2 and 3.
    assert match(left, right, labels)[0] == [0, 1, 0, 1]
    # Item 2 is of another drawer now, so neither 0 nor 1 meets it.
    assert match(left, right, labels, drawers=np.array([0, 0, 1, 1]))[0] == [1, 1, 1, 1]
    assert match(left, right, labels, groups=np.array([0, 1, 0, 1]))[0] == [0, 1, 1, 1]


def test_ties_share_the_credit_and_a_class_is_asked_once():
    ones = np.ones((3, 2), dtype=np.float32)
    credits, items = match(ones, ones, [0, 0, 1])
    assert credits == [0.5, 0.5] and len(items) == 2
    with pytest.raises(DataError, match="nothing to match: no two classes share"):
        match(ones, ones, [0, 0, 0])
