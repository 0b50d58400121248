"""The code of today answers as the code that wrote ``tests/golden`` did."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import onelook
from golden.make import FOLDERS, HERE, N_IMAGES, SMALL, pairs_of

# The losses of the interrupted training after 20 and 40 steps.
GOLDEN_LOSSES = [4.235535621643066, 4.0542731285095215]
# Processors and runtimes round differently: a share of the length, a share of a score.
LARGEST_DIFFERENCE, LARGEST_SCORE_DIFFERENCE = 1e-4, 1e-3


@pytest.mark.data
@pytest.mark.parametrize("model", [*N_IMAGES, *FOLDERS])
def test_models_answer_as_they_did(model, data_root):
    with np.load(HERE / f"{model}.npz") as file:
        golden = dict(file)
    verifier = onelook.load(HERE / model if model in FOLDERS else model)
    assert verifier.fingerprint == str(golden["fingerprint"])

    embeddings = verifier.embed([str(data_root / name) for name in golden["addresses"]])
    length = np.linalg.norm(golden["embeddings"], axis=1)
    difference = np.linalg.norm(embeddings - golden["embeddings"], axis=1) / length
    assert difference.max() <= LARGEST_DIFFERENCE

    left, right = pairs_of(len(embeddings)).T
    scores = verifier.score(embeddings[left], embeddings[right])
    tolerance = LARGEST_SCORE_DIFFERENCE * max(1, np.abs(golden["scores"]).max())
    np.testing.assert_allclose(scores, golden["scores"], atol=tolerance)
    decision = verifier.decision
    if decision is None:
        return
    answers = [verifier.judge("a", "b", float(score)) for score in scores]
    limits = np.array([decision.threshold, decision.reject_below])
    is_clear = (np.abs(scores[:, None] - limits) > tolerance).all(1)
    verdicts = np.array([answer.verdict for answer in answers])
    assert (verdicts == golden["verdicts"])[is_clear].all()
    probabilities = [answer.probability for answer in answers]
    np.testing.assert_allclose(probabilities, golden["probabilities"], atol=0.02)


@pytest.mark.data
def test_a_gallery_file_of_that_day_answers_as_it_did(data_root, tmp_path):
    path = Path(shutil.copy(HERE / "characters.db", tmp_path))
    golden = json.loads((HERE / "characters.json").read_text("utf-8"))
    strange = 0  # since then a few drawings are unlike those of the calibration
    with onelook.Gallery(onelook.load("omniglot"), str(path)) as gallery:
        for row in golden:
            found = gallery.identify(str(data_root / row["probe"]))
            names, scores = zip(*row["matches"], strict=True)
            best = found.matches[0]
            named = best.identity if best.score >= found.threshold else None
            assert named == row["identity"]
            assert found.identity == (named if found.familiar else None)
            strange += not found.familiar
            assert tuple(match.identity for match in found.matches) == names
            np.testing.assert_allclose([m.score for m in found.matches], scores, atol=1e-3)
    assert strange <= 0.1 * len(golden)


@pytest.mark.slow
def test_a_training_interrupted_that_day_can_be_resumed(tmp_path):
    shutil.copytree(HERE / "training", tmp_path / "run")
    changes = {**SMALL, "epochs": 30}
    run = onelook.train("digits", out=tmp_path / "run", changes=changes, resume=True)
    with (tmp_path / "run" / "log.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    # The first rows are those of that day's training, not those of a new one.
    assert [row["loss"] for row in rows if row["step"] in (20, 40)] == GOLDEN_LOSSES
    assert np.isfinite(run.best_figure)
