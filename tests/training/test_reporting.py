"""What the report of a training shows."""

import numpy as np

from onelook.training.reporting import choose_for_map


def test_the_map_takes_few_classes_and_few_items():
    labels = np.random.default_rng(0).integers(0, 500, 20_000)
    chosen = choose_for_map(labels)
    assert len(set(chosen.tolist())) == len(chosen) <= 600
    assert len(set(labels[chosen])) == 24
    lonely = np.concatenate([np.arange(100), np.repeat(np.arange(100, 110), 5)])
    assert set(range(100, 110)) <= set(lonely[choose_for_map(lonely)])
