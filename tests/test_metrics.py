"""Metrics against hand-worked cases, plain loops, scipy and scikit-learn."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook import metrics

SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
IS_SAME = [True, True, False, True, False, False]


def drawn_pairs(n=400, seed=0, decimals=1):
    generator = np.random.default_rng(seed)
    is_same = generator.random(n) < 0.3
    return np.round(generator.normal(size=n) + 1.2 * is_same, decimals), is_same


def test_roc_auc_matches_a_plain_loop_with_ties_counting_half():
    scores, is_same = drawn_pairs()
    same, different = scores[is_same], scores[~is_same]
    wins = sum((s > d) + 0.5 * (s == d) for s in same for d in different)
    assert metrics.roc_auc(scores, is_same) == pytest.approx(
        wins / (len(same) * len(different))
    )


def test_roc_curve_matches_scikit_learn():
    scores, is_same = drawn_pairs()
    far, tar, thresholds = sklearn.metrics.roc_curve(
        is_same, scores, drop_intermediate=False
    )
    curve = metrics.roc_curve(scores, is_same)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    np.testing.assert_allclose(curve.thresholds, thresholds)


# Few distinct scores, so that ties are the rule; both kinds of pairs are there.
PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), max_size=40).map(
    lambda pairs: np.array([*pairs, (0, True), (1, False)], float).T
)


@settings(deadline=None, derandomize=True, database=None)
@given(PAIRS, st.integers(-5, 5))
def test_any_pairs_give_what_scikit_learn_and_counting_give(pairs, threshold):
    scores, is_same = pairs[0], pairs[1].astype(bool)
    far, tar, _ = sklearn.metrics.roc_curve(is_same, scores, drop_intermediate=False)
    curve = metrics.roc_curve(scores, is_same)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    auc = sklearn.metrics.roc_auc_score(is_same, scores)
    assert metrics.roc_auc(scores, is_same) == pytest.approx(auc)
    right = sum((s >= threshold) == y for s, y in zip(scores, is_same, strict=True))
    assert metrics.accuracy_at(scores, is_same, threshold) == right / len(scores)
    same, different = scores[is_same], scores[~is_same]
    assert curve.errors_at(threshold) == pytest.approx(
        ((different >= threshold).mean(), (same < threshold).mean())
    )
    assert curve.tar_at(0.2) == max(t for f, t in zip(far, tar, strict=True) if f <= 0.2)


@settings(deadline=None, derandomize=True, database=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_neither_the_order_of_pairs_nor_the_unit_of_scores_matters(pairs, random):
    scores, is_same = pairs[0], pairs[1].astype(bool)
    order = random.sample(range(len(scores)), len(scores))
    curve = metrics.roc_curve(scores, is_same)
    other = metrics.roc_curve(np.exp(scores[order] / 2), is_same[order])
    np.testing.assert_array_equal(other.far, curve.far)
    np.testing.assert_array_equal(other.tar, curve.tar)
    assert other.eer == curve.eer
    # Exchanging the truths and the sign of the scores exchanges the two kinds of errors.
    mirrored = metrics.roc_curve(-scores, ~is_same)
    assert mirrored.auc == pytest.approx(curve.auc)
    assert mirrored.eer == pytest.approx(curve.eer)


def test_weights_count_as_repeated_pairs():
    scores, is_same = drawn_pairs(60)
    times = np.random.default_rng(1).integers(0, 4, 60)
    weighted = metrics._Ranked(scores, is_same).curve(times.astype(float))
    repeated = metrics.roc_curve(np.repeat(scores, times), np.repeat(is_same, times))
    assert weighted.auc == pytest.approx(repeated.auc)
    assert weighted.eer == pytest.approx(repeated.eer)


def test_equal_error_rate_of_a_case_worked_by_hand():
    # At 0.65 one of three different pairs is accepted and one of three same pairs rejected.
    assert metrics.roc_curve(SCORES, IS_SAME).eer == pytest.approx(1 / 3)


def test_perfect_and_constant_scores():
    perfect = metrics.roc_curve([2, 1], [True, False])
    assert (perfect.eer, perfect.auc) == (0, 1)
    constant = metrics.roc_curve([1, 1, 1], [True, False, False])
    assert (constant.eer, constant.auc) == (pytest.approx(0.5), 0.5)
    assert metrics.roc_curve([1, 2], [True, False]).eer == 1


def test_best_threshold_is_the_best_of_a_plain_loop():
    scores, is_same = drawn_pairs(100, decimals=3)
    best = max(np.mean((scores >= t) == is_same) for t in [*scores, scores.max() + 1])
    threshold = metrics.best_threshold(scores, is_same)
    assert metrics.accuracy_at(scores, is_same, threshold) == pytest.approx(best)


def test_balanced_threshold_is_the_best_of_a_plain_loop_whatever_the_share_of_same():
    generator = np.random.default_rng(3)
    same, different = generator.normal(1, 1, 40), generator.normal(-1, 1, 50)
    for times in (1, 200):
        scores = np.concatenate([same, np.tile(different, times)])
        is_same = np.arange(len(scores)) < 40
        found = metrics.roc_curve(scores, is_same).best_threshold()
        rates = [(same >= t).mean() + (different < t).mean() for t in scores]
        assert (same >= found).mean() + (different < found).mean() == max(rates)
    # Of 40 same pairs among 10,000 different ones accuracy alone accepts fewer.
    assert metrics.best_threshold(scores, is_same) > found


def test_best_threshold_lies_halfway_between_separated_scores():
    assert metrics.best_threshold([4.0, 3.0, 1.0, 0.0], [True, True, False, False]) == 2.0


def test_best_threshold_of_two_neighbouring_floats_still_separates_them():
    upper = np.nextafter(1.0, 2.0)
    threshold = metrics.best_threshold([upper, 1.0], [True, False])
    assert metrics.accuracy_at([upper, 1.0], [True, False], threshold) == 1


def test_float32_scores_meet_a_threshold_between_them():
    scores = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))], np.float32)
    threshold = metrics.best_threshold(scores, [False, True])
    assert scores[0] < np.float64(threshold) < scores[1]
    assert metrics.accuracy_at(scores, [False, True], threshold) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_are_converted(dtype):
    scores = torch.tensor([0.75, 0.25, 0.5, 0.125], dtype=dtype, requires_grad=True)
    is_same = torch.tensor([True, True, False, False])
    assert metrics.roc_auc(scores, is_same) == 0.75
    assert metrics.accuracy_at(scores, is_same, 0.5) == 0.5
    wanted = np.float64 if dtype == torch.float64 else np.float32
    assert metrics.to_numpy(scores).dtype == wanted


def test_rates_at_a_threshold():
    assert metrics.far_at(SCORES, IS_SAME, 0.7) == pytest.approx(1 / 3)
    assert metrics.frr_at(SCORES, IS_SAME, 0.7) == pytest.approx(1 / 3)
    assert metrics.accuracy_at(SCORES, IS_SAME, 0.7) == pytest.approx(4 / 6)


def test_tar_at_far_matches_a_plain_loop():
    scores, is_same = drawn_pairs(2000, decimals=2)
    expected = max(
        np.mean(scores[is_same] >= t)
        for t in [*scores, np.inf]
        if np.mean(scores[~is_same] >= t) <= 0.05
    )
    assert metrics.roc_curve(scores, is_same).tar_at(0.05) == pytest.approx(expected)
    threshold = metrics.threshold_at_far(scores, is_same, 0.05)
    assert metrics.far_at(scores, is_same, threshold) <= 0.05
    assert 1 - metrics.frr_at(scores, is_same, threshold) == pytest.approx(expected)


def test_tar_at_far_keeps_a_rate_that_is_met_exactly():
    scores = np.concatenate([np.arange(100.0), [94.5]])
    is_same = np.arange(101) == 100
    assert metrics.roc_curve(scores, is_same).tar_at(0.1) == 1
    assert metrics.threshold_at_far(scores, is_same, 0.1) == 89.5


def test_threshold_at_far_refuses_too_few_different_pairs():
    scores, is_same = np.arange(1000.0), np.arange(1000) >= 500
    with pytest.raises(ValueError, match="at least 1000 different pairs, got 500; .* 0.02"):
        metrics.threshold_at_far(scores, is_same, 0.01)
    with pytest.raises(ValueError, match="far must lie between 0 and 1, got 0"):
        metrics.threshold_at_far(scores, is_same, 0.0)
    assert metrics.threshold_at_far(scores, is_same, 0.02) < scores[is_same].min()


def test_a_threshold_that_accepts_nothing_is_finite():
    threshold = metrics.threshold_at_far(np.ones(200), np.arange(200) < 50, 0.1)
    assert np.isfinite(threshold) and threshold > 1


def test_threshold_at_frr_rejects_no_more_same_pairs_than_said():
    scores, is_same = drawn_pairs(500, decimals=3)
    threshold = metrics.threshold_at_frr(scores, is_same, 0.05)
    assert metrics.frr_at(scores, is_same, threshold) <= 0.05
    above = np.sort(scores[scores > threshold])[1]
    assert metrics.frr_at(scores, is_same, above + 1e-9) > 0.05 - 2 / is_same.sum()


def test_wilson_interval_matches_scipy():
    expected = scipy.stats.binomtest(394, 400).proportion_ci(method="wilson")
    assert metrics.wilson_interval(394, 400) == pytest.approx(tuple(expected))
    assert metrics.wilson_interval(0, 10)[0] == 0
    assert metrics.wilson_interval(10, 10)[1] == 1
    with pytest.raises(ValueError, match="got 11 of 10"):
        metrics.wilson_interval(11, 10)


def test_mean_intervals_match_scipy():
    values = np.random.default_rng(0).normal(size=10)
    error = scipy.stats.sem(values)
    assert metrics.standard_error(values) == pytest.approx(error)
    assert metrics.mean_interval(values) == pytest.approx(
        scipy.stats.norm.interval(0.95, values.mean(), error)
    )
    assert metrics.mean_interval(values, student=True) == pytest.approx(
        scipy.stats.t.interval(0.95, 9, values.mean(), error)
    )
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        metrics.standard_error([1.0])


def all_pairs_of(classes, centres, generator):
    """Scores (minus distances) of all pairs of numbers around class centres."""
    points = centres[classes] + generator.normal(size=len(classes))
    left, right = np.triu_indices(len(classes), 1)
    return (
        -np.abs(points[left] - points[right]),
        classes[left] == classes[right],
        classes[left],
        classes[right],
    )


def test_bootstrap_over_classes_covers_the_truth_about_as_often_as_it_says():
    classes = np.repeat(np.arange(20), 4)

    def drawn(seed):
        generator = np.random.default_rng(seed)
        return all_pairs_of(classes, 3 * generator.normal(size=20), generator)

    truth = np.mean([metrics.roc_auc(*drawn(seed)[:2]) for seed in range(1000, 1300)])
    covered = 0
    for seed in range(60):
        [(low, high)] = metrics.bootstrap_interval(
            lambda curve: [curve.auc], *drawn(seed), seed=seed, n_resamples=100
        )
        covered += low <= truth <= high
    assert 48 <= covered <= 60  # 95 % of 60 is 57


def test_bootstrap_refuses_fewer_than_ten_classes():
    generator = np.random.default_rng(0)
    pairs = all_pairs_of(np.repeat(np.arange(9), 2), generator.normal(size=9), generator)
    with pytest.raises(ValueError, match="at least 10 classes, got 9"):
        metrics.bootstrap_interval(lambda curve: [0.0], *pairs, seed=0)


def test_bootstrap_is_repeatable():
    generator = np.random.default_rng(0)
    pairs = all_pairs_of(np.repeat(np.arange(12), 3), generator.normal(size=12), generator)
    twice = [
        metrics.bootstrap_interval(
            lambda curve: [curve.auc, curve.eer],
            *pairs,
            seed=3,
            n_resamples=20,
        )
        for _ in range(2)
    ]
    assert twice[0] == twice[1] and len(twice[0]) == 2


def test_correlations_match_scipy():
    generator = np.random.default_rng(0)
    left = np.round(generator.normal(size=50), 1)
    right = np.round(left + generator.normal(size=50), 1)
    expected = scipy.stats.pearsonr(left, right)
    assert metrics.pearson(left, right) == pytest.approx(expected.statistic)
    assert metrics.spearman(left, right) == pytest.approx(
        scipy.stats.spearmanr(left, right).statistic
    )
    assert metrics.pearson_interval(expected.statistic, 50) == pytest.approx(
        tuple(expected.confidence_interval())
    )
    assert metrics.mean_squared_error([1, 2], [2, 4]) == 2.5
    assert np.isnan(metrics.pearson([1, 1], [1, 2]))


@pytest.mark.parametrize(
    ("scores", "is_same", "message"),
    [
        ([1.0, 2.0], [True, True], "got 2 same and 0 different"),
        ([1.0, np.nan], [True, False], "scores must be finite, got 1"),
        ([1.0], [True, False], r"got \(1,\) and \(2,\)"),
    ],
)
def test_unusable_pairs_are_refused(scores, is_same, message):
    with pytest.raises(ValueError, match=message):
        metrics.roc_auc(scores, is_same)


def test_reliability_and_its_error_worked_by_hand():
    probability = [0.05, 0.05, 0.55, 0.55, 0.55, 0.95]
    is_same = [False, False, True, True, False, True]
    bins = metrics.reliability(probability, is_same, prior=0.5, n_bins=10)
    # Each of three same pairs weighs 1/6, each of three different ones too.
    assert bins.stated == pytest.approx([0.05, 0.55, 0.95])
    assert bins.happened == pytest.approx([0, 2 / 3, 1])
    assert bins.weight == pytest.approx([1 / 3, 1 / 2, 1 / 6])
    assert bins.error == pytest.approx(0.05 / 3 + (2 / 3 - 0.55) / 2 + 0.05 / 6)
    rare = metrics.reliability(probability, is_same, prior=0.1, n_bins=10)
    assert rare.happened[1] == pytest.approx(2 * 0.1 / (2 * 0.1 + 0.9))
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.reliability([2.0, 0.5], [True, False], prior=0.5)
