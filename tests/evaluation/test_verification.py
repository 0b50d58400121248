"""Verification protocols on drawn points, against plain loops and scikit-learn."""

import json

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from table_scorer import TableScorer

from onelook.data.items import Dataset, Pairs
from onelook.errors import DataError
from onelook.evaluation.verification import (
    mean_over_folds,
    score_folds,
    verify_all_pairs,
    verify_pairs,
)


def drawn_people(n_people=12, n_images=5, seed=0, n_folds=4):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_people), n_images)
    paths = tuple(f"person{c:02}/{i}.png" for i, c in enumerate(labels))
    points = 2 * generator.normal(size=(n_people, 2))[labels]
    table = dict(zip(paths, points + generator.normal(size=(len(labels), 2)), strict=True))
    names = tuple(f"person{c:02}" for c in range(n_people))
    dataset = Dataset("people", paths, labels, names, folds=labels % n_folds + 1)
    return dataset, TableScorer(table)


def listed_pairs(dataset, n=400, seed=0, folds=None):
    left, right = np.random.default_rng(seed).integers(0, len(dataset), (2, n))
    return Pairs(
        tuple(dataset.paths[i] for i in left),
        tuple(dataset.paths[i] for i in right),
        is_same=dataset.labels[left] == dataset.labels[right],
        folds=folds,
    )


def loop_scores(scorer, pairs):
    """Scores pair by pair, straight from the table."""
    table = scorer.table
    return np.array(
        [
            -np.sqrt(((table[a] - table[b]) ** 2).sum())
            for a, b in zip(pairs.left, pairs.right, strict=True)
        ]
    )


def lfw_folds_of(scorer, pairs):
    scores = loop_scores(scorer, pairs)
    return score_folds(pairs, scores, protocol="folds", model=scorer.name)


def test_verify_pairs_matches_scikit_learn():
    dataset, scorer = drawn_people()
    pairs = listed_pairs(dataset)
    result = verify_pairs(scorer, pairs, "mine", threshold=-1.5)
    scores = loop_scores(scorer, pairs)
    assert result.auc == pytest.approx(sklearn.metrics.roc_auc_score(pairs.is_same, scores))
    assert result.accuracy == pytest.approx(np.mean((scores >= -1.5) == pairs.is_same))
    assert (result.n_pairs, result.n_same) == (400, pairs.is_same.sum())
    assert result.n_classes == 12 and result.protocol == "mine"
    for name in ("auc", "eer", "accuracy", "tar_at_far_0.1"):
        low, high = result.intervals[name]
        assert low < high
    assert result.intervals["auc"][0] < result.auc < result.intervals["auc"][1]


def test_the_threshold_comes_from_the_other_pairs():
    dataset, scorer = drawn_people()
    pairs, others = listed_pairs(dataset, seed=0), listed_pairs(dataset, seed=1)
    result = verify_pairs(scorer, pairs, threshold=others)
    scores = loop_scores(scorer, others)
    best = max(np.mean((scores >= t) == others.is_same) for t in scores)
    assert np.mean((scores >= result.threshold) == others.is_same) == pytest.approx(best)
    assert result.accuracy == pytest.approx(
        np.mean((loop_scores(scorer, pairs) >= result.threshold) == pairs.is_same)
    )
    assert "threshold chosen on 400 other pairs" in result.protocol


def test_what_cannot_be_told_is_refused_with_its_reason():
    dataset, scorer = drawn_people(n_people=6)
    result = verify_pairs(scorer, listed_pairs(dataset, n=100))
    assert result.accuracy is None and result.tar_at_far[0.001] is None
    assert "needs a threshold" in result.refused["accuracy"]
    assert "at least 10000 different pairs" in result.refused["tar_at_far_0.001"]
    assert result.intervals == {} and "10 classes, got 6" in result.refused["intervals"]
    text = str(result)
    assert "accuracy           -  " in text and "no intervals       a bootstrap" in text


def test_pairs_of_unknown_classes_have_no_intervals():
    scorer = TableScorer({"a": [0.0], "b": [0.1], "c": [5.0]})
    pairs = Pairs(("a", "a"), ("b", "c"), np.array([True, False]))
    result = verify_pairs(scorer, pairs)
    assert result.auc == 1 and result.n_classes is None
    assert "classes of the pairs are not known" in result.refused["intervals"]
    with pytest.raises(DataError, match="does not say which pairs are the same"):
        verify_pairs(scorer, Pairs(("a",), ("b",)))


def test_a_result_becomes_json_without_its_arrays():
    dataset, scorer = drawn_people()
    values = json.loads(json.dumps(verify_pairs(scorer, listed_pairs(dataset)).to_dict()))
    assert values["tar_at_far"]["0.0001"] is None and len(values["intervals"]["auc"]) == 2
    assert not {"scores", "is_same"} & set(values)


def test_a_result_shows_itself_in_a_notebook():
    dataset, scorer = drawn_people()
    result = verify_pairs(scorer, listed_pairs(dataset), "mine <1>")
    assert repr(result).startswith("<VerificationResult of table: auc 0.")
    assert "table: mine &lt;1&gt;" in result._repr_html_()
    pandas = pytest.importorskip("pandas")
    frame = result.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.figure.tolist() == ["auc", "eer", "tar_at_far_0.1"]
    assert frame.low[0] < frame.value[0] < frame.high[0]


def test_verify_all_pairs_takes_every_pair_once():
    dataset, scorer = drawn_people()
    result = verify_all_pairs(scorer, dataset)
    assert result.n_pairs == 60 * 59 // 2 and result.n_same == 12 * 10
    left, right = np.triu_indices(60, 1)
    paths = np.array(dataset.paths)
    pairs = Pairs(tuple(paths[left]), tuple(paths[right]), result.is_same)
    np.testing.assert_allclose(result.scores, loop_scores(scorer, pairs))
    assert len(scorer.embedded) == 60 and result.protocol == "all pairs of people"
    sampled = verify_all_pairs(scorer, dataset, max_pairs=200)
    assert (sampled.n_pairs, sampled.n_same) == (200, 100)


def test_lfw_folds_match_a_plain_loop():
    dataset, scorer = drawn_people()
    folds = np.arange(400) % 10 + 1
    pairs = listed_pairs(dataset, folds=folds)
    scores, accuracies = loop_scores(scorer, pairs), []
    for fold in range(1, 11):
        others = folds != fold
        ordered = np.sort(scores[others])
        rates = [np.mean((scores[others] >= t) == pairs.is_same[others]) for t in ordered]
        result = lfw_folds_of(scorer, pairs)
        threshold = result.per_fold["threshold"][fold - 1]
        at_threshold = np.mean((scores[others] >= threshold) == pairs.is_same[others])
        assert at_threshold == pytest.approx(max(rates))
        inside = ~others
        accuracies.append(np.mean((scores[inside] >= threshold) == pairs.is_same[inside]))
    assert result.accuracy == pytest.approx(np.mean(accuracies))
    assert result.standard_errors["accuracy"] == pytest.approx(scipy.stats.sem(accuracies))
    assert result.n_classes == 12 and "±" in str(result)


def test_fold_zero_is_no_fold():
    dataset, scorer = drawn_people()
    result = lfw_folds_of(scorer, listed_pairs(dataset, folds=np.arange(400) % 4))
    assert result.n_pairs == 300 and len(result.per_fold["auc"]) == 3
    with pytest.raises(DataError, match="at least 2 folds, got 0"):
        lfw_folds_of(scorer, listed_pairs(dataset))


def test_folds_take_thresholds_that_were_chosen_elsewhere():
    dataset, scorer = drawn_people()
    pairs = listed_pairs(dataset, folds=np.arange(400) % 2 + 1)
    scores, thresholds = loop_scores(scorer, pairs), {1: -1.0, 2: -2.5}
    result = score_folds(
        pairs, scores, thresholds.__getitem__, protocol="folds", model="table"
    )
    right = [
        np.mean((scores[inside] >= thresholds[fold]) == pairs.is_same[inside])
        for fold in (1, 2)
        for inside in [pairs.folds == fold]
    ]
    assert result.per_fold["accuracy"] == pytest.approx(right)
    assert result.per_fold["threshold"] == [-1.0, -2.5]


def test_means_over_folds_have_standard_errors():
    eers = [0.1, 0.2, 0.15]
    result = mean_over_folds(
        "folds",
        "table",
        {"auc": [0.9, 0.8, 0.85], "eer": eers},
        scores=np.zeros(6),
        is_same=np.arange(6) < 2,
        n_classes=3,
    )
    assert result.eer == pytest.approx(0.15) and result.accuracy is None
    assert result.standard_errors["eer"] == pytest.approx(scipy.stats.sem(eers))
    assert result.n_pairs == 6 and result.n_same == 2
