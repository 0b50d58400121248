"""Simulated galleries: what strangers score, counted again by plain loops."""

import numpy as np
import pytest

from onelook.calibration.galleries import simulate_galleries


class OneNumber:
    """Embeddings are single numbers; alike when near."""

    shared = True

    def score_matrix(self, left, right):
        return -np.abs(left[:, None, 0] - right[None, :, 0])


def items_of(n_classes, n_each, spread, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=n_classes)
    labels = np.repeat(np.arange(n_classes), n_each)
    values = centres[labels] + spread * generator.normal(size=len(labels))
    return values[:, None].astype(np.float32), labels


def test_strangers_meet_the_best_of_so_many_other_classes():
    values, labels = items_of(30, 4, 0.01)
    found = simulate_galleries(OneNumber(), values, values, labels, sizes=(1, 5, 20))
    assert found.unknown.shape == (3, 30 * 200) and found.n_items == 120
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
    found = simulate_galleries(OneNumber(), values, values, labels)
    assert found.sizes.tolist() == [1, 2, 5, 10, 11]
    assert found.unknown.max() == -10 and (found.own == 0).all()


def test_the_own_group_is_enrolled_first():
    labels = np.repeat(np.arange(12), 2)
    groups = labels // 4
    values = (100.0 * groups + labels)[:, None].astype(np.float32)
    found = simulate_galleries(
        OneNumber(), values, values, labels, groups, sizes=(1, 3, 11)
    )
    assert (found.unknown[0] >= -3).all()  # one of the three others of its group
    assert (found.unknown[1:] == -1).all()  # all three of them, so a neighbour too


def test_known_probes_compete_with_one_fewer():
    labels = np.repeat(np.arange(10), 2)
    values = labels[:, None].astype(np.float32)
    found = simulate_galleries(OneNumber(), values, values, labels, sizes=(1, 9))
    assert np.isneginf(found.others[0]).all()
    assert np.isfinite(found.others[1]).all() and found.others[1].max() == -1


def test_classes_of_one_item_are_strangers_but_never_known():
    labels = np.concatenate([np.repeat(np.arange(5), 2), np.arange(5, 20)])
    values = labels[:, None].astype(np.float32)
    found = simulate_galleries(OneNumber(), values, values, labels, sizes=(1,))
    assert found.unknown.shape[1] == 20 * 200 and len(found.own) == 5 * 200


def test_a_gallery_of_all_classes_is_refused():
    values, labels = items_of(10, 2, 0.1)
    with pytest.raises(ValueError, match="more than 10 classes"):
        simulate_galleries(OneNumber(), values, values, labels, sizes=(5, 10))
