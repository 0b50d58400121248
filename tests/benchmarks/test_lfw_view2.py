"""The plan of LFW's ten folds: who may have been seen by whom."""

import sys
from pathlib import Path

import pytest

from onelook.data.sources.lfw import folds_of_part

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def lfw_view2(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import lfw_view2

    yield lfw_view2
    for name in ("lfw_view2", "record"):
        sys.modules.pop(name)


def test_no_fold_was_seen_by_its_network_or_by_one_that_it_began_with(lfw_view2):
    plan = dict(lfw_view2.trainings(Path("out"), {"optimizer.learning_rate": 0.1}))
    for fold in range(1, 11):
        folder, levels = Path(f"out/not-{fold}"), 0
        while folder != Path("."):
            changes = plan[folder]
            assert fold in folds_of_part(changes["data.part"])
            assert changes["optimizer.learning_rate"] == 0.1
            folder, levels = Path(changes.get("start", ".")), levels + 1
        assert levels == len(lfw_view2.LEVELS)


def test_every_training_follows_the_one_that_it_begins_with(lfw_view2):
    done = set()
    for folder, changes in lfw_view2.trainings(Path("out"), {}):
        assert "start" not in changes or changes["start"] in done
        done.add(str(folder))
    assert len(done) == 16
