"""Several processes train as one does; a training that loses one goes on."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from onelook.recipe import override
from onelook.training.loop import BEST_FILE, STATE_FILE
from onelook.training.state import load_state
from onelook.training.train import train

ROOT = Path(__file__).parents[2]
SECONDS = 150  # of one command; a training that waits for ever fails
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
# Saves after every step, and once ends process 1 as the kernel does when memory runs out.
KILLED = """
import os, signal, sys
import onelook.training.loop as loop
from onelook.cli import main

loop.SAVE_SECONDS, loop.LARGEST_SAVE_SHARE = 0.0, 1e9
step = loop.Training.step

def step_or_end(training, raw):
    is_lost = os.environ["RANK"] == "1" and training.state.step == 5
    if is_lost and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(training, raw)

loop.Training.step = step_or_end
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def arguments(shapes_recipe, shapes_folder, tmp_path_factory):
    """What ``onelook`` is given; a training of six steps."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(override(shapes_recipe, {"epochs": 2}).model_dump_json())  # as YAML
    return ["train", str(path), "--data", str(shapes_folder)]


@pytest.fixture(scope="module")
def alone(shapes_recipe, shapes_folder, tmp_path_factory):
    """The same training in one process."""
    out = tmp_path_factory.mktemp("alone")
    train(override(shapes_recipe, {"epochs": 2}), shapes_folder, out, progress=False)
    return out


def run(*command: str) -> subprocess.CompletedProcess:
    command = [*TORCHRUN, *command]
    return subprocess.run(command, timeout=SECONDS, capture_output=True, text=True)


def losses(out: Path) -> list[float]:
    rows = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def assert_same_weights(first: Path, second: Path, tolerance: float) -> None:
    a, b = load_state(first), load_state(second)
    for part in ("together", "averaged", "model"):
        for name, tensor in a.get(part, {}).items():
            torch.testing.assert_close(
                *(tensor, b[part][name]), rtol=tolerance, atol=tolerance, msg=name
            )


def test_gradients_of_two_processes_and_of_chunks_are_those_of_the_whole_batch():
    command = [sys.executable, "benchmarks/gradient_equality.py", "--processes", "2"]
    done = subprocess.run(
        command, timeout=SECONDS, cwd=ROOT, capture_output=True, text=True
    )
    found = re.findall(r"float(32|64)_(?:2_processes|chunk) (\S+)", done.stdout)
    assert len(found) == 4 * 15, done.stderr
    for bits, difference in found:
        assert float(difference) <= {"32": 5e-6, "64": 1e-12}[bits]


@pytest.mark.slow
def test_two_processes_train_as_one_does(alone, arguments, tmp_path):
    done = run("--nproc-per-node", "2", "-m", "onelook", *arguments, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("held-out AUC") == 1  # one process speaks
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-3)
    for name in (STATE_FILE, BEST_FILE):
        assert_same_weights(tmp_path / name, alone / name, 1e-2)


@pytest.mark.slow
def test_a_lost_process_ends_the_training_which_goes_on_with_another_number(
    alone, arguments, tmp_path
):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    out = tmp_path / "run"
    command = [*arguments, "--out", str(out)]
    done = run("--nproc-per-node", "2", str(script), *command)
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
    assert load_state(out / STATE_FILE)["position"]["step"] == 5
    done = run("--nproc-per-node", "1", "-m", "onelook", *command, "--resume")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(out), losses(alone), rtol=1e-3)
    assert_same_weights(out / STATE_FILE, alone / STATE_FILE, 1e-2)


@pytest.mark.slow
def test_torchrun_restarts_a_training_that_lost_a_process(alone, arguments, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    out = tmp_path / "run"
    often = ["--nproc-per-node", "2", "--max-restarts", "1"]
    done = run(*often, str(script), *arguments, "--out", str(out))
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(out), losses(alone), rtol=1e-3)
    assert_same_weights(out / STATE_FILE, alone / STATE_FILE, 1e-2)
