"""Simulated galleries: what strangers score, counted again by plain loops."""

import numpy as np
import pytest

from onelook.calibration import galleries
from onelook.calibration.galleries import (
    fit_votes,
    rate_elsewhere,
    simulate_galleries,
    threshold_at_fpir,
    threshold_for_places,
)
from onelook.runtime.scores import build_scores
from onelook.votes import identity_scores


def one_number(left, right):
    """Scores of embeddings that are single numbers; alike when near."""
    return -np.abs(left[:, None, 0] - right[None, :, 0])


def items_of(n_classes, n_each, spread, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=n_classes)
    labels = np.repeat(np.arange(n_classes), n_each)
    values = centres[labels] + spread * generator.normal(size=len(labels))
    return values[:, None].astype(np.float32), labels


def test_strangers_meet_the_best_of_so_many_other_classes():
    values, labels = items_of(30, 4, 0.01)
    found = simulate_galleries(one_number, values, values, labels, sizes=(1, 5, 20))
    assert found.unknown.shape == (3, 30 * 200) and found.n_classes == 30
    generator = np.random.default_rng(1)
    for row, size in enumerate((1, 5, 20)):
        best = []
        for _ in range(4000):
            probe, others = generator.integers(120), generator.permutation(30)
            others = [c for c in others if c != labels[probe]][:size]
            enrolled = [generator.choice(np.flatnonzero(labels == c)) for c in others]
            best.append(max(-abs(values[probe, 0] - values[e, 0]) for e in enrolled))
        for share in (0.1, 0.5, 0.9):
            expected = np.quantile(best, share)
            assert np.quantile(found.unknown[row], share) == pytest.approx(
                expected, rel=0.12
            )


def test_no_stranger_meets_its_own_class():
    labels = np.repeat(np.arange(12), 3)
    values = (10.0 * labels[:, None]).astype(np.float32)  # only its own class is nearer
    found = simulate_galleries(one_number, values, values, labels)
    assert found.sizes.tolist() == [1, 2, 5, 10, 11]
    assert found.unknown.max() == -10 and (found.own == 0).all()


def test_the_own_group_is_enrolled_first():
    labels = np.repeat(np.arange(12), 2)
    groups = labels // 4
    values = (100.0 * groups + labels)[:, None].astype(np.float32)
    found = simulate_galleries(one_number, values, values, labels, groups, sizes=(1, 3, 11))
    assert (found.unknown[0] >= -3).all()  # one of the three others of its group
    assert (found.unknown[1:] == -1).all()  # all three of them, so a neighbour too


def test_known_probes_compete_with_one_fewer():
    labels = np.repeat(np.arange(10), 2)
    values = labels[:, None].astype(np.float32)
    found = simulate_galleries(one_number, values, values, labels, sizes=(1, 9))
    assert np.isneginf(found.others[0]).all()
    assert np.isfinite(found.others[1]).all() and found.others[1].max() == -1


def test_classes_of_one_item_are_strangers_but_never_known():
    labels = np.concatenate([np.repeat(np.arange(5), 2), np.arange(5, 20)])
    values = labels[:, None].astype(np.float32)
    found = simulate_galleries(one_number, values, values, labels, sizes=(1,))
    assert found.unknown.shape[1] == 20 * 200 and len(found.own) == 5 * 200


def test_a_gallery_of_all_classes_is_refused():
    values, labels = items_of(10, 2, 0.1)
    with pytest.raises(ValueError, match="more than 10 classes"):
        simulate_galleries(one_number, values, values, labels, sizes=(5, 10))


@pytest.mark.parametrize("vote", ["best", "either", "blend"])
def test_several_images_vote_by_the_best_of_them_and_by_their_mean(vote):
    generator = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 3)
    values = (10 * labels + generator.integers(3, size=18))[:, None].astype(np.float32)
    drawn = galleries._draw(labels, 2, 6, np.random.default_rng(0))
    probes, enrolled = values[drawn.probes], values[drawn.enrolled.ravel()]
    found = identity_scores(one_number, probes, enrolled, np.arange(0, 12, 2), vote)
    for i in range(6):
        assert labels[drawn.probes[i]] == labels[drawn.enrolled[i]].item(0) == i
        assert len({drawn.probes[i], *drawn.enrolled[i]}) == 3
        for j in range(6):
            apart = probes[i, 0] - values[drawn.enrolled[j], 0]
            best, mean = -abs(apart).min(), -abs(apart.mean())
            expected = {"best": best, "either": max(best, mean), "blend": (best + mean) / 2}
            assert found[i, j] == pytest.approx(expected[vote])


def test_classes_of_too_few_images_are_no_identities_of_several():
    labels = np.concatenate([np.repeat(np.arange(5), 3), np.repeat(np.arange(5, 9), 2)])
    values = labels[:, None].astype(np.float32)
    found = simulate_galleries(one_number, values, values, labels, n_images=3, sizes=(1,))
    assert found.n_classes == 5 and found.n_images == 3 and len(found.own) == 0
    found = simulate_galleries(one_number, values, values, labels, n_images=2, sizes=(1,))
    assert found.n_classes == 9 and len(found.own) == 5 * 200


def test_a_blend_is_taken_where_it_finds_clearly_more():
    """Noise around one centre averages out; of two centres the mean is neither."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(60), 12)
    centres = generator.normal(size=(60, 16))
    noisy = centres[labels] + 1.5 * generator.normal(size=(len(labels), 16))
    two = generator.normal(size=(60, 2, 16))
    sided = two[labels, np.arange(len(labels)) % 2]
    sided = sided + 0.3 * generator.normal(size=sided.shape)
    scores = build_scores("cosine")
    for values, expected in ((noisy, "blend"), (sided, "either")):
        values = values.astype(np.float32)

        def simulate(n_images, vote, values=values):
            items = (scores.matrix, values, values, labels)
            settings = {"n_images": n_images, "vote": vote, "most_rounds": 20}
            return [simulate_galleries(*items, **settings)]

        vote, rows = fit_votes(simulate, len(labels))
        assert vote == expected
        assert all(row.fpir == pytest.approx(0.05, abs=0.002) for row in rows)
        known = {row.n_images: row.known for row in rows if row.gallery_size == 20}
        assert known[1] < known[2] < known[3] < known[5]


@pytest.mark.parametrize(
    "vote, own", [("best", 1.0), ("either", 1.0), ("blend", (1 + 3**-0.5) / 2)]
)
def test_an_image_that_is_enrolled_beside_unlike_ones_is_known_again(vote, own):
    images = np.eye(6, dtype=np.float32)
    scores = identity_scores(
        build_scores("cosine").matrix, images[:1], images, np.array([0, 3, 5]), vote
    )
    assert scores == pytest.approx(np.array([[own, 0, 0]]))


def test_a_threshold_of_few_places_holds_in_others():
    rng = np.random.default_rng(0)
    elsewhere = rng.normal(0, 0.5, (2000, 1)) + rng.normal(size=(2000, 100))
    too_many = {"all alike": 0, "places": 0}
    for _ in range(100):
        unknown = (rng.normal(0, 0.5, (5, 1)) + rng.normal(size=(5, 400))).ravel()
        places = np.repeat(np.arange(5), 400)
        thresholds = {
            "all alike": threshold_at_fpir(unknown, 0.05),
            "places": threshold_for_places(unknown, places, 0.05),
        }
        for name, threshold in thresholds.items():
            too_many[name] += (elsewhere >= threshold).mean() > 0.05
        stated = rate_elsewhere(unknown >= thresholds["places"], places)
        assert stated == pytest.approx(0.05, abs=2 / 400)
    assert too_many["all alike"] > 40
    assert too_many["places"] < 33


def test_one_place_or_two_say_nothing_about_others():
    unknown = np.random.default_rng(0).normal(size=1000)
    for n_places in (1, 2):
        places = np.arange(1000) % n_places
        threshold = threshold_for_places(unknown, places, 0.05)
        assert threshold == threshold_at_fpir(unknown, 0.05)
        assert rate_elsewhere(unknown >= threshold, places) == 0.05
