"""Cohorts: what is kept and refused, and scores beside them against plain loops."""

import dataclasses

import numpy as np
import pytest

from onelook.cohort import (
    Cohort,
    cohort_scores,
    decision_beside,
    kinds_for,
    make_cohort,
    scores_of_kind,
)
from onelook.decision import Decision
from onelook.errors import DataError
from onelook.runtime.scores import build_scores

DECISION = Decision(
    threshold=0.5, reject_below=0.4, far=0.01, prior=0.5, slope=4.0, intercept=-2.0,
    n_same=100, n_different=4000, n_classes=20,
)  # fmt: skip
CENTRED = dataclasses.replace(DECISION, threshold=0.3, kind="centred", cohort_size=20)
NORMALISED = dataclasses.replace(DECISION, threshold=1, kind="normalised", cohort_size=100)
BESIDE = dataclasses.replace(DECISION, cohorts=(CENTRED, NORMALISED))


def drawn(n, seed=0, size=6):
    return np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)


def test_a_cohort_needs_20_different_images():
    with pytest.raises(DataError, match="walls: a cohort needs at least 20.*got 19;"):
        make_cohort(drawn(19), "walls")
    with pytest.raises(DataError, match="got 30, 11 of them copies"):
        make_cohort(np.concatenate([drawn(19), drawn(11)]), "walls")
    with pytest.raises(DataError, match="got 0"):
        make_cohort(np.zeros((0, 6), np.float32))


def test_copies_are_left_out_and_said():
    cohort = make_cohort(np.concatenate([drawn(40), drawn(40)[:3] + 1e-4]))
    assert len(cohort) == 40
    assert "3 of 43 images: copies" in cohort.notes[0]


def test_a_cohort_of_one_thing_is_said_and_a_mixture_is_not():
    one_thing = 4 + drawn(60, seed=1)
    assert (
        "look like one thing"
        in make_cohort(np.concatenate([drawn(40), one_thing])).notes[0]
    )
    assert make_cohort(drawn(100)).notes == ()


def test_of_more_than_1000_images_a_part_is_kept():
    assert len(make_cohort(drawn(1200))) == 1000


def test_centred_scores_are_cosines_of_centred_embeddings():
    cohort, left, right = Cohort(drawn(20) + 3), drawn(4, 1), drawn(5, 2)
    for name in ("cosine", "euclidean"):
        found = scores_of_kind(build_scores(name), cohort, "centred", 20)
        a, b = left - cohort.embeddings.mean(0), right - cohort.embeddings.mean(0)
        for i in range(4):
            for j in range(5):
                expected = a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j])
                assert found.matrix(left, right)[i, j] == pytest.approx(expected, abs=1e-5)
        np.testing.assert_allclose(
            found.pairs(left, right[:4]), found.matrix(left, right).diagonal(), atol=1e-5
        )


@pytest.mark.parametrize("name", ["cosine", "euclidean", "manhattan"])
def test_normalised_scores_match_a_plain_loop(name):
    plain, left, right = build_scores(name), drawn(4, 1), drawn(5, 2)
    cohort = Cohort(drawn(150))
    found = scores_of_kind(plain, cohort, "normalised", 100)  # the nearest 30 of 150

    def moments(embedding):
        near = np.sort(plain.matrix(embedding[None], cohort.embeddings)[0])[-30:]
        return near.mean(), near.std()

    for i in range(4):
        for j in range(5):
            score = plain.pairs(left[i : i + 1], right[j : j + 1])[0]
            (a, a_spread), (b, b_spread) = moments(left[i]), moments(right[j])
            expected = ((score - a) / a_spread + (score - b) / b_spread) / 2
            assert found.matrix(left, right)[i, j] == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(
        found.pairs(left, right[:4]), found.matrix(left, right).diagonal(), atol=1e-4
    )
    assert not found.follows_near and found.near == plain.near


def test_a_learned_head_is_normalised_on_both_sides_and_never_centred():
    weight = {"linear.weight": drawn(1, 3, size=12)}
    head = build_scores("concatenation", weight)
    assert kinds_for(head) == ("normalised",)
    assert kinds_for(build_scores("cosine")) == ("centred", "normalised")
    cohort, left, right = Cohort(drawn(20)), drawn(1, 1), drawn(1, 2)
    found = scores_of_kind(head, cohort, "normalised", 20)
    score = head.pairs(left, right)
    rows = [head.matrix(left, cohort.embeddings), head.matrix(cohort.embeddings, right)]
    expected = sum((score - row.mean()) / row.std() for row in rows) / 2
    np.testing.assert_allclose(found.pairs(left, right), expected, atol=1e-4)


def test_the_decision_follows_the_size_of_the_cohort():
    assert decision_beside(BESIDE, Cohort(drawn(99)), "m") is CENTRED
    assert decision_beside(BESIDE, Cohort(drawn(100)), "m") is NORMALISED
    with pytest.raises(DataError, match="m has no thresholds beside cohorts: onelook cal"):
        decision_beside(DECISION, Cohort(drawn(99)), "m")
    only_large = dataclasses.replace(DECISION, cohorts=(NORMALISED,))
    with pytest.raises(DataError, match="here: m needs a cohort of 100 .* got 50"):
        decision_beside(only_large, Cohort(drawn(50), "here"), "m")


def test_without_a_decision_200_images_normalise():
    cosine = build_scores("cosine")
    assert cohort_scores(cosine, Cohort(drawn(199)), None).name == "cosine, centred"
    assert cohort_scores(cosine, Cohort(drawn(200)), None).name == "cosine, normalised"
