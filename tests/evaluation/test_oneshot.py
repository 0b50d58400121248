"""One-shot protocols on drawn points, against plain loops."""

import json

import numpy as np
import pytest
import torch
from table_scorer import TableScorer

from onelook.data.items import Dataset
from onelook.data.sources.omniglot import OneShotRun
from onelook.errors import DataError
from onelook.evaluation.oneshot import (
    koch_trials,
    n_way_k_shot,
    omniglot_20_runs,
    within_alphabet_trials,
    within_group_accuracy,
)
from onelook.metrics import wilson_interval


def drawn_alphabets(noise=0.0, n_alphabets=3, n_characters=5, n_drawers=4, seed=0):
    """Characters are points of a plane; the drawers of a character scatter around it."""
    generator = np.random.default_rng(seed)
    n_classes = n_alphabets * n_characters
    labels = np.repeat(np.arange(n_classes), n_drawers)
    drawers = np.tile(np.arange(1, n_drawers + 1), n_classes)
    centres = generator.normal(size=(n_classes, 2))
    points = centres[labels] + noise * generator.normal(size=(len(labels), 2))
    paths = tuple(f"c{c}/d{d}" for c, d in zip(labels, drawers, strict=True))
    dataset = Dataset(
        name="drawn",
        paths=paths,
        labels=labels,
        class_names=tuple(f"c{c}" for c in range(n_classes)),
        groups=labels // n_characters,
        group_names=tuple("abcdefghij"[:n_alphabets]),
        drawers=drawers,
    )
    return dataset, TableScorer(dict(zip(paths, points, strict=True)))


def test_runs_match_a_plain_loop():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(2, 40, 2))
    table = {f"{k}{i}": points["sq".index(k), i] for k in "sq" for i in range(40)}
    runs = [
        OneShotRun(
            f"run{r}",
            tuple(f"s{20 * r + i}" for i in range(20)),
            tuple(f"q{20 * r + i}" for i in range(20)),
            generator.permutation(20),
        )
        for r in range(2)
    ]
    right = []
    for run in runs:
        for query, answer in zip(run.queries, run.answers, strict=True):
            distances = [np.hypot(*(table[query] - table[s])) for s in run.support]
            right.append(int(np.argmin(distances)) == answer)
    result = omniglot_20_runs(TableScorer(table), runs)
    assert result.accuracy == pytest.approx(np.mean(right))
    assert result.error == pytest.approx(1 - np.mean(right))
    assert result.interval == pytest.approx(wilson_interval(sum(right), 40))
    assert result.n_trials == 40 and result.n_way == 20 and result.seed is None
    assert result.per_group["run0"] == pytest.approx(np.mean(right[:20]))


def test_equal_scores_count_as_guessing():
    table = {name: [0.0] for name in ("s0", "s1", "s2", "s3", "q0", "q1")}
    run = OneShotRun("run", ("s0", "s1", "s2", "s3"), ("q0", "q1"), np.array([0, 3]))
    assert omniglot_20_runs(TableScorer(table), [run]).accuracy == 0.25


def test_scores_that_are_not_finite_are_refused():
    table = {"s0": [0.0], "s1": [np.nan], "q0": [0.0]}
    run = OneShotRun("run", ("s0", "s1"), ("q0",), np.array([0]))
    with pytest.raises(ValueError, match="scores must be finite"):
        omniglot_20_runs(TableScorer(table), [run])


def test_within_alphabet_trials_are_right_for_points_without_noise():
    dataset, scorer = drawn_alphabets()
    result = within_alphabet_trials(scorer, dataset, n_trials=101, n_way=5)
    assert result.accuracy == 1 and result.n_trials == 105 and result.n_classes == 15
    assert result.per_group == {"a": 1, "b": 1, "c": 1} and result.chance == 0.2
    assert len(scorer.embedded) == len(dataset)


def test_within_alphabet_trials_never_show_the_drawer_who_asks():
    dataset, scorer = drawn_alphabets()
    asked = []

    def score_matrix(left, right):
        asked.append((left, right))
        return TableScorer.score_matrix(scorer, left, right)

    drawer_of = dict(zip(dataset.paths, dataset.drawers, strict=True))
    scorer.table = {path: np.array([drawer_of[path]]) for path in dataset.paths}
    scorer.score_matrix = score_matrix
    within_alphabet_trials(scorer, dataset, n_trials=100, n_way=5)
    for query, support in asked:
        assert len(np.unique(query)) == len(np.unique(support)) == 1
        assert query[0, 0] != support[0, 0]


def test_within_alphabet_accuracy_matches_a_plain_loop():
    # Whole alphabets are drawn, so every pair of drawers and every class is as likely.
    dataset, scorer = drawn_alphabets(noise=0.7, n_alphabets=1)
    right = []
    for a in range(1, 5):
        for b in set(range(1, 5)) - {a}:
            for c in range(5):
                distances = [
                    np.hypot(*(scorer.table[f"c{c}/d{a}"] - scorer.table[f"c{o}/d{b}"]))
                    for o in range(5)
                ]
                right.append(int(np.argmin(distances)) == c)
    result = within_alphabet_trials(scorer, dataset, n_trials=20_000, n_way=5)
    assert result.accuracy == pytest.approx(np.mean(right), abs=0.02)
    low, high = result.interval
    assert low < result.accuracy < high < low + 0.05


def test_within_alphabet_trials_refuse_small_alphabets_by_name():
    dataset, scorer = drawn_alphabets()
    with pytest.raises(DataError, match="n_way=6 needs 6 classes in every group; a has 5"):
        within_alphabet_trials(scorer, dataset, n_way=6)


def test_koch_trials_are_four_hundred_for_ten_alphabets():
    dataset, scorer = drawn_alphabets(0.1, n_alphabets=10, n_characters=22)
    result = koch_trials(scorer, dataset, seed=1)
    assert result.n_trials == 400 and len(result.per_group) == 10
    assert result.interval == pytest.approx(wilson_interval(400 * result.accuracy, 400))


def test_k_shots_decide_by_their_mean_score():
    dataset, scorer = drawn_alphabets(noise=0.5, n_alphabets=1, n_characters=3, n_drawers=3)
    right = []

    def mean_distance(query, character, shown):
        points = [scorer.table[f"c{character}/d{drawer}"] for drawer in shown]
        return np.mean([np.hypot(*(query - point)) for point in points])

    for c in range(3):
        for asking in (1, 2, 3):
            shots = [d for d in (1, 2, 3) if d != asking]
            query = scorer.table[f"c{c}/d{asking}"]
            # Rivals show two of their three drawings, any two.
            for lost in np.ndindex(3, 3):
                means = []
                for k, o in enumerate([o for o in range(3) if o != c]):
                    shown = [d for d in (1, 2, 3) if d != lost[k] + 1]
                    means.append(mean_distance(query, o, shown))
                right.append(mean_distance(query, c, shots) < min(means))
    result = n_way_k_shot(scorer, dataset, n_way=3, n_shot=2, n_episodes=6000)
    assert result.accuracy == pytest.approx(np.mean(right), abs=0.02)
    assert result.n_trials == 18_000 and result.n_shot == 2


def test_too_few_images_are_refused_with_the_numbers():
    dataset, scorer = drawn_alphabets()
    with pytest.raises(DataError, match="n_way=5 needs 5 classes .* 0 of 15 classes"):
        n_way_k_shot(scorer, dataset, n_way=5, n_shot=4)


def test_quarter_turns_are_new_classes():
    dataset, scorer = drawn_alphabets()
    result = n_way_k_shot(scorer, dataset, 20, 1, n_episodes=300, rotations=4)
    assert result.accuracy == 1 and result.n_classes == 60


def negative_distances(left, right):
    return -torch.cdist(left, right)


def test_within_group_accuracy_agrees_with_the_protocol():
    dataset, scorer = drawn_alphabets(noise=0.5)
    points = torch.from_numpy(np.stack([scorer.table[path] for path in dataset.paths]))
    accuracy = within_group_accuracy(
        points,
        dataset.labels,
        dataset.groups,
        dataset.drawers,
        n_way=5,
        n_trials=5000,
        seed=0,
        score_matrix=negative_distances,
    )
    result = within_alphabet_trials(scorer, dataset, n_trials=5000, n_way=5, seed=0)
    assert accuracy == pytest.approx(result.accuracy)


def test_within_group_accuracy_makes_do_with_what_is_known():
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 3])  # class 3 has one item
    points = torch.from_numpy(np.eye(4)[labels])
    for drawers in (None, np.arange(8)):  # each item by a drawer of its own
        accuracy = within_group_accuracy(
            points,
            labels,
            None,
            drawers,
            n_way=20,
            n_trials=30,
            seed=0,
            score_matrix=negative_distances,
        )
        assert accuracy == 1


def test_a_result_reads_and_becomes_json():
    dataset, scorer = drawn_alphabets()
    result = n_way_k_shot(scorer, dataset, 5, 1, n_episodes=20)
    values = json.loads(json.dumps(result.to_dict()))
    assert values["accuracy"] == 1 and values["error"] == 0
    assert "trials    100, 5-way 1-shot, 15 classes; seed 0" in str(result)
    assert repr(result) == (
        "<OneShotResult of table: accuracy 1.0000, error 0.0000; "
        "trials: 100, 5-way 1-shot, 15 classes; seed 0>"
    )
    assert "<th" in result._repr_html_()
