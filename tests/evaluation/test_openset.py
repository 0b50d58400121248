"""Open-set identification, against counts by hand."""

import numpy as np
import pytest

from onelook.evaluation.openset import dir_at_fpir, open_set


def test_answers_are_counted():
    result = open_set(
        is_known=[1, 1, 1, 1, 0, 0],
        best_is_right=[1, 1, 0, 1, 0, 0],
        is_named=[1, 0, 1, 1, 1, 0],
        best_scores=[0.9, 0.4, 0.7, 0.8, 0.6, 0.2],
        fpir=0.05,
        extrapolated=True,
    )
    counts = result.n_known, result.n_right, result.n_rejected, result.n_best
    assert counts == (4, 2, 1, 3)
    assert (result.n_unknown, result.n_falsely_accepted) == (2, 1)
    assert result.dir_at_low_fpir is None  # two probes are too few for 1%
    text = str(result)
    assert "4 images, 2 (50.0%" in text and "1 answered unknown, 1 with another" in text
    assert "1 (50.0%" in text and "states 0.05 by extrapolation" in text


@pytest.mark.parametrize(
    "fpir, expected", [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (1.0, 0.75)]
)
def test_the_rate_at_a_false_positive_rate_by_hand(fpir, expected):
    known = np.array([0.95, 0.7, 0.5, 0.4])
    right = np.array([True, True, True, False])
    unknown = np.array([0.9, 0.6, 0.3, 0.1])
    assert dir_at_fpir(known, right, unknown, fpir) == expected


def test_a_tie_with_an_unknown_probe_that_must_not_pass_does_not_pass():
    known, right = np.array([0.9]), np.array([True])
    assert dir_at_fpir(known, right, np.array([0.9] * 100), 0.01) == 0.0


def test_one_per_cent_of_two_hundred_unknown_are_two():
    scores = np.concatenate([[0.5] * 10, np.linspace(0, 0.6, 200)])
    known = np.arange(210) < 10
    result = open_set(known, known, known, scores, fpir=0.01, extrapolated=False)
    # Two unknown probes lie above 0.594; none of the known does.
    assert result.dir_at_low_fpir == 0.0
    scores[:10] = 0.595
    assert (
        open_set(known, known, known, scores, fpir=0.01, extrapolated=False).dir_at_low_fpir
        == 1.0
    )
