"""Simulated places: their cohorts, and rates that hold in places that were never seen."""

import numpy as np
import pytest

from onelook.calibration import places
from onelook.calibration.fit import fit_items
from onelook.calibration.galleries import fit_rows
from onelook.calibration.places import beside_cohorts, places_of
from onelook.cohort import Cohort, cohort_scores
from onelook.runtime.scores import build_scores
from onelook.verifier import from_function


def shifted_places(n_places, n_classes=15, n_each=16, shift=2.0, seed=0):
    """Classes around a centre of their place: the shift makes all of a place look alike."""
    generator = np.random.default_rng(seed)
    size, n = 16, n_places * n_classes
    place = shift * generator.normal(size=(n_places, size)).repeat(n_classes, 0)
    centre = place + generator.normal(size=(n, size))
    labels = np.arange(n).repeat(n_each)
    noise = 0.5 * generator.normal(size=(len(labels), size))
    embeddings = (centre[labels] + noise).astype(np.float32)
    return embeddings, labels, labels // n_classes


def test_cohorts_and_scored_images_are_disjoint():
    embeddings, labels, groups = shifted_places(3)
    found = places_of(labels, groups, seed=0)
    for number, (cohort, rest) in places._splits(found, 20, np.random.default_rng(0)):
        assert len(cohort) == 20 and not set(cohort) & set(rest)
        assert set(cohort) | set(rest) == set(found[number])


def test_without_groups_a_place_is_a_random_half_of_the_classes():
    labels = np.arange(40).repeat(3)
    found = places_of(labels, None, seed=0)
    assert {len(np.unique(labels[rows])) for rows in found} == {20}
    assert len({tuple(rows) for rows in found}) == len(found) == 5
    assert len(places_of(np.arange(12).repeat(3), None, seed=0)) == 1


def test_a_rate_holds_in_another_place_beside_a_cohort_and_not_without():
    items = shifted_places(4)
    scorer = from_function(lambda images: np.zeros((len(images), 16)))
    embeddings, labels, groups = items
    decision = fit_items(scorer, embeddings, embeddings, labels, groups).decision
    assert [(one.cohort_size, one.far) for one in decision.cohorts] == [
        (20, 0.01),
        (120, 0.01),
    ]

    rates = {0: [], 20: [], 120: []}
    for seed in range(12):
        other, others_labels, _ = shifted_places(1, shift=3.0, seed=9 + seed)
        order = np.random.default_rng(seed).permutation(len(other))
        rest = order[120:]
        same = others_labels[rest][:, None] == others_labels[rest][None]
        for size in rates:
            used = decision if not size else decision.for_cohort(size)
            scores = scorer.scores
            if size:
                scores = cohort_scores(scores, Cohort(other[order[:size]]), used)
            found = scores.matrix(other[rest], other[rest])
            rates[size].append((found[~same] >= used.threshold).mean())
    assert np.mean(rates[0]) > 0.05
    assert np.mean(rates[20]) < 0.03 and np.mean(rates[120]) < 0.02


def test_gallery_thresholds_keep_their_rate_beside_a_cohort():
    embeddings, labels, groups = shifted_places(4)
    scores = build_scores("cosine")
    found = beside_cohorts(scores, embeddings, labels, groups, far=0.01)
    for one in found:
        rows = fit_rows(one.simulate(1, "best"), 0.05)
        assert [row.gallery_size for row in rows] == [1, 2, 5, 10, 14]
        assert all(row.fpir == pytest.approx(0.05, abs=0.005) for row in rows)
        assert np.all(np.diff([row.threshold for row in rows]) > 0)
        three = fit_rows(one.simulate(3, "mean"), 0.05)
        assert three[-1].n_images == 3 and three[-1].known > rows[-1].known


def test_too_few_images_give_no_decision_beside_cohorts():
    embeddings, labels, _ = shifted_places(1, n_classes=12, n_each=3)
    scores = build_scores("cosine")
    assert beside_cohorts(scores, embeddings, labels, None, far=0.1) == []
