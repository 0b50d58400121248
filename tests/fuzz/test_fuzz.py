"""Inputs that once were not read or refused in order, and a short run with new ones."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from targets import TARGETS, served  # noqa: E402

from fuzz import SEEDS, failure  # noqa: E402


@pytest.mark.parametrize("name", [*TARGETS, "http", "json"])
def test_kept_inputs_are_read_or_refused_in_order(name, tmp_path):
    with ExitStack() as stack:
        target = TARGETS.get(name) or served(stack, tmp_path)[name]
        good = target.seeds(tmp_path)
        assert good and not any(failure(target, data, tmp_path) for data in good)
        for path in sorted((SEEDS / name).glob("*")):
            assert failure(target, path.read_bytes(), tmp_path) == "", path.name


@pytest.mark.slow
def test_a_short_run_finds_nothing_new():
    command = [sys.executable, str(HERE / "fuzz.py"), "--seconds", "2", "--seed", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count(" 0 failed") == len(TARGETS) + 2
