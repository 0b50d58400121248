"""The whole way: train on drawn shapes, save, load, compare; and a training that is
killed."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from onelook.data.sources.class_folders import class_folder
from onelook.errors import CheckpointError, DataError, OnelookError, TrainingError
from onelook.evaluation.protocols import evaluate
from onelook.files import locked
from onelook.loading import load
from onelook.recipe import override
from onelook.training.loop import BEST_FILE, STATE_FILE, Interrupted, fit
from onelook.training.prepare import prepare
from onelook.training.reporting import headline_rows
from onelook.training.state import load_state
from onelook.training.train import train


@pytest.fixture(scope="module")
def run(shapes_folder, shapes_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    measured = [("sum of <own> figures", "0.1234")]
    return train(
        shapes_recipe, shapes_folder, out, progress=False, measure=lambda _: measured
    )


def test_training_beats_chance_by_a_wide_margin(run, shapes_folder):
    result = evaluate(run.verifier, "folder-one-shot", shapes_folder)
    assert result.n_way == 20
    assert result.accuracy > 0.6  # chance is 0.05


def test_a_setting_given_by_keyword_is_told_where_it_goes():
    with pytest.raises(TypeError, match=r"no argument 'epochs'.* changes=\{\"epochs\""):
        train("digits", epochs=2)


def test_held_out_classes_are_not_trained_on(shapes_folder, shapes_recipe):
    material = prepare(shapes_recipe, shapes_folder, progress=False)
    trained = {material.left.store.addresses[row] for row in material.left.rows}
    held = set(material.held_out.addresses)
    assert {Path(p).parent for p in trained}.isdisjoint({Path(p).parent for p in held})


def test_a_saved_model_gives_the_same_answers(run, shapes_folder):
    dataset = class_folder(shapes_folder)
    first, second, other = dataset.paths[0], dataset.paths[1], dataset.paths[-1]
    loaded = load(run.out)
    for a, b in ((first, second), (first, other)):
        answers = loaded.compare(a, b), run.verifier.compare(a, b)
        assert answers[0].score == pytest.approx(answers[1].score, abs=1e-5)
        assert answers[0].threshold == answers[1].threshold
    assert loaded.fingerprint == run.verifier.fingerprint
    assert loaded.compare(first, first).dissimilarity == pytest.approx(0, abs=1e-5)


def test_the_report_and_the_metrics_log_are_written(run):
    page = run.report.read_text()
    assert "<html" in page and "Dissimilarity:" in page
    assert page.count('class="pair"') == 2 * 4 + 2 * 6  # typical and hardest pairs
    # Both pictures of a pair are marked; on a slow machine not of all pairs.
    n_marked = page.count('alt="set apart: '), page.count('alt="made alike: ')
    assert 2 <= n_marked[0] <= 2 * 6 and 0 <= n_marked[0] - n_marked[1] <= 2
    # The terminal and the report show the same figures in the same order.
    figures = [("sum of <own> figures", "0.1234"), *headline_rows(run.verifier)]
    assert list(run.figures) == figures
    shown = re.findall(r"<b>([^<]+)</b><span>", page)
    assert shown == [text for _, text in figures[:4]]
    assert all(f"{name}" in str(run) and text in str(run) for name, text in figures)
    assert "sum of &lt;own&gt; figures" in page and repr(run).startswith("<Run of ")
    rows = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert sum("validation" in row for row in rows) == 30
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


def test_the_decision_keeps_its_false_accept_rate_on_the_held_out_pairs(run):
    decision = run.verifier.decision
    assert decision is not None
    assert decision.far >= 0.01
    assert decision.n_classes == 12


def test_a_stopped_training_resumes_to_the_same_weights(
    shapes_folder, shapes_recipe, tmp_path, monkeypatch
):
    recipe = override(shapes_recipe, {"epochs": 4, "optimizer.ema": 0.9})
    material = prepare(recipe, shapes_folder, progress=False)
    fit(recipe, material, tmp_path / "whole", progress=False)

    original = material.sampler.batch

    def batch(step: int):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
        return original(step)

    monkeypatch.setattr(material.sampler, "batch", batch)
    # The signal reaches the main thread, as a Ctrl-C does.
    with pytest.raises(Interrupted, match="nothing is lost"):
        fit(recipe, material, tmp_path / "broken", progress=False)
    monkeypatch.undo()
    stopped = load_state(tmp_path / "broken" / STATE_FILE)["position"]["step"]
    assert 0 < stopped < 12
    fit(recipe, material, tmp_path / "broken", resume=True, progress=False)
    for name in (STATE_FILE, BEST_FILE):
        _assert_same_tensors(tmp_path / "whole" / name, tmp_path / "broken" / name)


def _assert_same_tensors(first: Path, second: Path) -> None:
    a, b = load_state(first), load_state(second)
    for part in ("together", "averaged", "model"):
        for name, tensor in a.get(part, {}).items():
            assert torch.equal(tensor, b[part][name]), name


@pytest.mark.slow
def test_killed_at_random_moments_the_final_weights_are_those_of_an_unbroken_run(
    shapes_folder, shapes_recipe, tmp_path
):
    recipe = override(shapes_recipe, {"epochs": 40})
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.model_dump_json())  # JSON is YAML
    material = prepare(recipe, shapes_folder, progress=False)
    fit(recipe, material, tmp_path / "whole", progress=False)
    rng = np.random.default_rng(0)
    script = (
        "import sys, onelook.training.loop as loop; loop.SAVE_SECONDS = 0.0; "
        "loop.LARGEST_SAVE_SHARE = 1e9; from onelook.training.train import train; "
        "train(sys.argv[1], sys.argv[2], sys.argv[3], resume=True, progress=False)"
    )
    command = [sys.executable, "-c", script, str(path), str(shapes_folder)]
    command.append(str(tmp_path / "broken"))
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        state = tmp_path / "broken" / STATE_FILE
        deadline = time.monotonic() + 60
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(float(rng.uniform(0.0, 1.0)))
        process.kill()
        process.wait()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    _assert_same_tensors(tmp_path / "whole" / BEST_FILE, tmp_path / "broken" / BEST_FILE)
    _assert_same_tensors(tmp_path / "whole" / STATE_FILE, tmp_path / "broken" / STATE_FILE)


def test_a_tracker_is_given_the_losses_and_the_validations(
    shapes_folder, shapes_recipe, tmp_path
):
    recipe = override(shapes_recipe, {"epochs": 8})
    material = prepare(recipe, shapes_folder, progress=False)
    fit(recipe, material, tmp_path, tracker="tensorboard", progress=False)
    events = list(tmp_path.rglob("events.out.tfevents.*"))
    assert any(b"validation" in path.read_bytes() for path in events)


@pytest.mark.parametrize(
    ("tracker", "message"),
    [
        ("wandb", r"pip install 'onelook\[wandb\]'"),
        ("paper", "unknown tracker 'paper'; known"),
    ],
)
def test_a_tracker_that_is_not_there_is_an_error(
    shapes_folder, shapes_recipe, tmp_path, monkeypatch, tracker, message
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    material = prepare(shapes_recipe, shapes_folder, progress=False)
    with pytest.raises((ValueError, OnelookError), match=message):
        fit(shapes_recipe, material, tmp_path, tracker=tracker, progress=False)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_precisions_follow_each_other_in_one_process(
    shapes_folder, shapes_recipe, tmp_path, precision
):
    recipe = override(shapes_recipe, {"epochs": 2, "precision": precision})
    material = prepare(recipe, shapes_folder, progress=False)
    verifier, state = fit(recipe, material, tmp_path, progress=False)
    assert state.step == state.history[-1]["step"]
    assert all(p.dtype == torch.float32 for p in verifier.model.parameters())


def test_a_second_training_in_a_folder_is_refused(shapes_folder, shapes_recipe, tmp_path):
    with locked(tmp_path / "run"), pytest.raises(DataError, match="another training runs"):
        train(shapes_recipe, shapes_folder, tmp_path / "run", progress=False)
    with pytest.raises(DataError):
        train(shapes_recipe, tmp_path / "nothing", tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


def test_a_state_of_another_recipe_is_refused(shapes_folder, shapes_recipe, tmp_path):
    recipe = override(shapes_recipe, {"epochs": 1})
    material = prepare(recipe, shapes_folder, progress=False)
    fit(recipe, material, tmp_path, progress=False)
    other = override(recipe, {"similarity.name": "euclidean"})
    with pytest.raises(CheckpointError, match="another recipe or other data"):
        fit(other, material, tmp_path, resume=True, progress=False)


def test_an_exploding_training_stops_with_its_step(shapes_folder, shapes_recipe, tmp_path):
    recipe = override(
        shapes_recipe,
        {
            "optimizer": {"name": "sgd", "learning_rate": 1e30},
            "similarity.name": "squared-euclidean",
            "loss": {"name": "triplet", "arguments": {"margin": 1.0}},
        },
    )
    material = prepare(recipe, shapes_folder, progress=False)
    with pytest.raises(TrainingError, match="at step|after step"):
        fit(recipe, material, tmp_path, progress=False)
