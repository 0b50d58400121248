"""Decisions: the stored threshold, the probability and the unsure band on drawn scores."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from onelook.calibration.galleries import GallerySimulation, fit_rows
from onelook.decision import Decision, IdentifyRow, fit_decision
from onelook.metrics import far_at, frr_at


def drawn_scores(n_same=2000, n_different=20000, gap=2.0, seed=0):
    """Normal scores of equal spread, for which the logistic curve is exactly right."""
    generator = np.random.default_rng(seed)
    is_same = np.arange(n_same + n_different) < n_same
    return generator.normal(size=len(is_same)) + gap * is_same, is_same


def test_threshold_keeps_its_far_on_other_pairs():
    decision = fit_decision(*drawn_scores(), far=0.01, n_classes=50)
    assert decision.far == 0.01
    assert far_at(*drawn_scores(seed=1), decision.threshold) == pytest.approx(0.01, rel=0.2)


def test_unsure_lies_between_the_thresholds_of_far_and_frr():
    scores, is_same = drawn_scores()
    decision = fit_decision(scores, is_same, far=0.05, n_classes=50)
    assert decision.reject_below < decision.threshold
    assert frr_at(scores, is_same, decision.reject_below) == pytest.approx(0.05, abs=0.001)
    assert decision.decide(decision.threshold) is True
    assert decision.decide((decision.threshold + decision.reject_below) / 2) is None
    assert decision.decide(decision.reject_below) is None
    assert decision.decide(decision.reject_below - 1e-6) is False


def test_nothing_is_unsure_where_one_threshold_keeps_both_rates():
    scores, is_same = drawn_scores(gap=9.0)
    decision = fit_decision(scores, is_same, n_classes=50)
    assert decision.reject_below == decision.threshold


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_probability_matches_scikit_learns_weighted_logistic_regression(prior):
    scores, is_same = drawn_scores(300, 900)
    decision = fit_decision(scores, is_same, far=0.1, prior=prior, n_classes=50)
    # Platt's soft targets, as two weighted copies of every pair.
    targets = np.where(is_same, 301 / 302, 1 / 902)
    weights = np.where(is_same, prior / 300, (1 - prior) / 900)
    reference = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(
        np.tile(scores, 2)[:, None],
        np.repeat([1, 0], len(scores)),
        np.concatenate([weights * targets, weights * (1 - targets)]) * 1000,
    )
    assert decision.slope == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert decision.intercept == pytest.approx(reference.intercept_[0], rel=1e-3)


def test_probability_is_the_share_of_same_pairs_at_its_prior():
    decision = fit_decision(*drawn_scores(), prior=0.2, n_classes=50)
    scores, is_same = drawn_scores(4000, 16000, seed=1)
    probability = decision.probability(scores)
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (probability >= low) & (probability < low + 0.2)
        assert is_same[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.05)


def test_another_prior_shifts_the_odds():
    decision = fit_decision(*drawn_scores(), prior=0.5, n_classes=50)
    half, rare = decision.probability(1.5), decision.probability(1.5, prior=0.01)
    assert rare / (1 - rare) == pytest.approx(half / (1 - half) / 99)


def test_probability_is_monotone_and_finite_for_separated_and_huge_scores():
    decision = fit_decision(*drawn_scores(gap=100.0), n_classes=50)
    probability = decision.probability(np.linspace(-1e6, 1e6, 1001))
    assert np.isfinite(probability).all() and (np.diff(probability) >= 0).all()
    assert decision.probability(100.0) > 0.99 and decision.probability(0.0) < 0.01


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_useless_scores_never_fall_in_probability(gap):
    decision = fit_decision(*drawn_scores(500, 5000, gap=gap), n_classes=50)
    assert 0 <= decision.slope < 0.1
    assert decision.probability(0.0) == pytest.approx(0.5, abs=0.05)


def test_constant_scores_give_the_prior():
    is_same = np.arange(1000) < 100
    decision = fit_decision(np.ones(1000), is_same, prior=0.3, n_classes=20)
    assert decision.probability(1.0) == pytest.approx(0.3, abs=0.01)


def test_far_is_the_smallest_that_the_pairs_support():
    decision = fit_decision(*drawn_scores(100, 600), far=0.01, n_classes=10)
    assert decision.far == 0.05


def test_too_little_to_calibrate_on_is_refused_with_the_number_needed():
    with pytest.raises(ValueError, match="at least 10 held-out classes, got 9"):
        fit_decision(*drawn_scores(), n_classes=9)
    with pytest.raises(ValueError, match="at least 30000 different pairs, got 20000"):
        fit_decision(*drawn_scores(), far=0.001, n_classes=50, strict=True)
    with pytest.raises(ValueError, match="at least 60 different pairs, got 50"):
        fit_decision(*drawn_scores(50, 50), n_classes=50)
    with pytest.raises(ValueError, match="prior must lie between 0 and 1, got 1"):
        fit_decision(*drawn_scores(), prior=1, n_classes=50)


def test_a_decision_survives_json():
    rows = fit_identify([[0.1, 0.2], [0.2, 0.3]], [1, 5], 0.5, [0.4], [[0.1], [0.2]])
    decision = dataclasses.replace(
        fit_decision(*drawn_scores(), n_classes=50),
        intervals={"far": (0.008, 0.013)},
        identify=rows,
    )
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    with pytest.raises(ValueError, match="missing or unknown values: far"):
        Decision.from_dict({k: v for k, v in decision.to_dict().items() if k != "far"})


def test_a_decision_of_an_older_onelook_is_read_and_knows_no_galleries():
    old = {
        "threshold": 0.6, "reject_below": 0.5, "far": 0.01, "prior": 0.5, "slope": 15.0,
        "intercept": -8.0, "n_same": 100, "n_different": 3000, "n_classes": 12,
    }  # fmt: skip
    decision = Decision.from_dict(old)
    assert decision.decide(0.55) is None
    assert decision.identify_threshold(20) is None
    among = decision.threshold_among(20)
    assert among.threshold == decision.threshold and among.extrapolated
    assert among.fpir == pytest.approx(1 - (1 - decision.far) ** 20)
    assert not decision.threshold_among(1).extrapolated
    assert decision.probability(0.6) == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_probability_stays_beyond_the_scores_that_were_seen():
    scores, is_same = drawn_scores()
    decision = fit_decision(scores, is_same, n_classes=50)
    assert decision.probability(1e6) == decision.probability(scores.max())
    assert decision.probability(-1e6) == decision.probability(scores.min())


def test_repeated_pairs_count_once_for_the_smallest_far():
    scores, is_same = drawn_scores(100, 600)
    thrice = np.tile(scores, 3), np.tile(is_same, 3)
    assert fit_decision(*thrice, n_classes=10, n_different=600).far == 0.05
    with pytest.raises(ValueError, match="needs at least 3000 different pairs, got 600"):
        fit_decision(*thrice, far=0.01, n_classes=10, n_different=600, strict=True)


def test_curves_are_the_rates_of_every_threshold():
    scores, is_same = drawn_scores()
    decision = fit_decision(scores, is_same, n_classes=50)
    curves = decision.curves
    assert len(curves["thresholds"]) == 200 and len(curves["histogram"]["edges"]) == 41
    for at in (0, 90, 150, 199):
        threshold = curves["thresholds"][at]
        # The thresholds are rounded, so a score may lie between the two.
        assert curves["far"][at] == pytest.approx(
            far_at(scores, is_same, threshold), abs=2e-4
        )
        assert curves["frr"][at] == pytest.approx(
            frr_at(scores, is_same, threshold), abs=2e-3
        )
    assert sum(curves["histogram"]["same"]) == pytest.approx(1, abs=1e-4)
    assert sum(curves["histogram"]["different"]) == pytest.approx(1, abs=1e-4)


def fit_identify(unknown, sizes, fpir, own=(), others=None):
    unknown = np.asarray(unknown, float)
    return tuple(
        fit_rows(
            [
                GallerySimulation(
                    sizes=np.array(sizes),
                    unknown=unknown,
                    unknown_classes=np.zeros(unknown.shape[1], int),
                    own=np.asarray(own, float),
                    others=np.zeros((len(sizes), 0))
                    if others is None
                    else np.array(others),
                    n_classes=2,
                )
            ],
            fpir,
        )
    )


def galleries_of(scores):
    """Best match (3, N) of every stranger among 1, 10 and 100 others."""
    return np.stack([scores[:, :size].max(axis=1) for size in (1, 10, 100)])


def test_identify_threshold_keeps_its_rate_at_measured_sizes_and_between():
    generator = np.random.default_rng(0)
    fitted = galleries_of(generator.normal(size=(20_000, 100)))
    rows = fit_identify(fitted, [1, 10, 100], 0.05)
    decision = dataclasses.replace(
        fit_decision(*drawn_scores(), n_classes=50), identify=rows
    )
    fresh = generator.normal(size=(20_000, 100))
    for size in (1, 10, 30, 100):
        limit = decision.identify_threshold(size)
        measured = (fresh[:, :size].max(axis=1) >= limit.threshold).mean()
        assert not limit.extrapolated
        assert limit.fpir == pytest.approx(0.05, abs=1e-9)
        assert measured == pytest.approx(0.05, rel=0.15)
    assert decision.identify_threshold(0) == decision.identify_threshold(1)


def test_identify_threshold_never_exceeds_the_highest_score_that_was_fitted():
    decision = fit_decision(*drawn_scores(), n_classes=50)
    highest = decision.seen[1]
    rows = (IdentifyRow(1, highest - 0.5, 0.05), IdentifyRow(10, highest - 0.1, 0.05))
    limit = dataclasses.replace(decision, identify=rows).identify_threshold(10_000)
    assert limit.extrapolated and limit.threshold == highest


def test_identify_threshold_beyond_what_was_measured_is_strict_and_says_so():
    generator = np.random.default_rng(0)
    rows = fit_identify(
        galleries_of(generator.normal(size=(5000, 100))), [1, 10, 100], 0.05
    )
    decision = dataclasses.replace(
        fit_decision(*drawn_scores(), n_classes=50), identify=rows
    )
    limit = decision.identify_threshold(2000)
    assert limit.extrapolated and limit.threshold > rows[-1].threshold
    strangers = generator.normal(size=(2000, 2000)).max(axis=1)
    measured = (strangers >= limit.threshold).mean()
    assert 0 < measured <= 0.05  # normal tails fall faster than exponential ones


def test_known_probes_are_found_when_their_own_is_best_and_accepted():
    strangers = np.array([[0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6]])
    own, others = np.array([0.9, 0.5, 0.2]), np.array([[0.0, 0.6, 0.0], [0.0, 0.6, 0.1]])
    small, large = fit_identify(strangers, [1, 5], 0.25, own, others)
    assert small.threshold == pytest.approx(0.35) and small.fpir == 0.25
    assert large.threshold == pytest.approx(0.55)
    assert small.known == pytest.approx(1 / 3) and large.known == pytest.approx(1 / 3)


def test_equal_best_matches_are_all_rejected_when_half_would_be_too_many():
    row = fit_identify(np.full((1, 10), 0.5), [1], 0.1)[0]
    assert row.threshold > 0.5 and row.fpir == 0
