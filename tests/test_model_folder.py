import json
import math

import numpy as np
import pytest
from safetensors.numpy import save

from onelook.decision import Decision
from onelook.errors import CheckpointError
from onelook.model_folder import (
    digest_of,
    fingerprint_of,
    read_file,
    read_settings,
    write_folder,
)
from onelook.zoo import FOLDER

WEIGHTS = save({"encoder.linear.weight": np.ones((3, 2), np.float32)})
DECISION = json.loads((FOLDER / "faces" / "model.json").read_text("utf-8"))["decision"]


def content(**changes):
    encoder = {"name": "compact", "arguments": {"input_shape": [1, 32, 32]}}
    return {
        "fingerprint": "0123456789abcdef",
        "embedding_size": 16,
        "model": {"encoder": encoder, "similarity": {"name": "cosine", "arguments": {}}},
        "preprocess": {"kind": "image", "height": 32, "width": 32},
        "decision": DECISION,
        "card": {"name": "shapes", "purpose": "drawn shapes"},
        **changes,
    }


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "model", content(), WEIGHTS, {"left": b"graph"})


def rewrite(folder, change, resign=True):
    path = folder / "model.json"
    values = json.loads(path.read_text("utf-8"))
    change(values)
    if resign:
        values["digest"] = digest_of(values)
    path.write_text(json.dumps(values), "utf-8")


def test_what_was_written_is_read(folder):
    found, plain = read_settings(folder)
    assert found.card.purpose == "drawn shapes"
    assert found.decision == Decision.from_dict(DECISION)
    assert plain["model"] == content()["model"]
    assert read_file(folder / "model.safetensors", found.weights.sha256) == WEIGHTS
    assert read_file(folder / "model.onnx", found.graphs["left"]) == b"graph"


def test_no_flipped_bit_changes_an_answer(folder):
    path = folder / "model.json"
    text = path.read_bytes()
    before = read_settings(folder)
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(8 * len(text), 1000, replace=False):
        flipped = bytearray(text)
        flipped[at // 8] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        try:
            assert read_settings(folder) == before  # between the values
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 700


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights", None, "weights: Input should be an object"),
        ("fingerprint", "x", "fingerprint: String should match"),
        ("embedding_size", 0, "embedding_size: Input should be greater than 0"),
        ("colour", "red", "colour: Extra inputs are not permitted"),
        ("card", {"name": "a", "mood": "b"}, "card.mood: Extra inputs"),
        ("graphs", {"top": "0" * 64}, "graphs.top"),
    ],
)
def test_values_of_a_wrong_kind_are_named(folder, key, value, message):
    rewrite(folder, lambda values: values.update({key: value}))
    with pytest.raises(CheckpointError, match=message):
        read_settings(folder)


@pytest.mark.parametrize("value", [True, "0.5", None])
def test_a_threshold_is_a_number(folder, value):
    rewrite(folder, lambda values: values["decision"].update(threshold=value))
    with pytest.raises(CheckpointError, match="decision.threshold: Input should be"):
        read_settings(folder)


def test_a_changed_threshold_is_refused(folder):
    rewrite(folder, lambda v: v["decision"].update(threshold=1e308), resign=False)
    with pytest.raises(CheckpointError, match="was changed after it was written"):
        read_settings(folder)


def test_numbers_that_are_none_are_refused(folder):
    text = (folder / "model.json").read_text("utf-8")
    (folder / "model.json").write_text(text.replace('"far": 0.01', '"far": NaN'), "utf-8")
    with pytest.raises(CheckpointError, match="NaN is not a number"):
        read_settings(folder)
    with pytest.raises(CheckpointError, match="cannot be written: Out of range float"):
        write_folder(folder, content(decision={**DECISION, "far": math.nan}), WEIGHTS, {})


def test_weights_that_are_not_numbers_are_refused(folder):
    bad = save({"encoder.weight": np.array([1.0, np.nan], np.float32)})
    with pytest.raises(CheckpointError, match="'encoder.weight' hold values that are not"):
        write_folder(folder, content(), bad, {})
    assert read_settings(folder)[0].graphs  # the older model stayed


def test_another_file_of_weights_is_refused(folder):
    sha256 = read_settings(folder)[0].weights.sha256
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1])
    with pytest.raises(
        CheckpointError, match="is not the file that model.json was written"
    ):
        read_file(folder / "model.safetensors", sha256)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model.safetensors cannot be read"):
        read_file(folder / "model.safetensors", sha256)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("[]", "is not a onelook model: it has no 'format'"),
        ('{"format": 3}', r"has format 3, onelook .* reads format 1 and 2"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_files_that_are_no_model_are_named(folder, text, message):
    (folder / "model.json").write_text(text, "utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_settings(folder)


def test_a_graph_that_is_no_longer_written_goes(folder):
    write_folder(folder, content(), WEIGHTS, {})
    assert not (folder / "model.onnx").exists()


def test_the_weights_of_another_model_are_not_copied(tmp_path):
    mine = content(weights={"of_model": "faces"})
    folder = write_folder(tmp_path / "m", mine, WEIGHTS, {"left": b"graph"})
    assert not (folder / "model.safetensors").exists()
    assert read_settings(folder)[0].weights.of_model == "faces"


def test_a_card_of_format_1_gets_todays_keys(folder):
    def age(values):
        for key in ("digest", "graphs", "fingerprint", "embedding_size"):
            del values[key]
        values |= {"format": 1, "weights": None}
        values["card"] = {
            "name": "old",
            "shipped by": "make",
            "metrics": {
                "held-out AUC": 0.9,
                "held-out best threshold": 0.2,
                "FAR on classes left out": 0.01,
            },
        }

    rewrite(folder, age, resign=False)
    card = read_settings(folder)[0].card
    assert (card.metrics.auc, card.metrics.best_threshold) == (0.9, 0.2)
    assert (card.calibration.far, card.shipped_by) == (0.01, "make")


def test_the_fingerprint_is_of_settings_names_and_weights():
    tensors = {"b": np.ones(2, np.float32), "a": np.zeros(1, np.float32)}
    found = fingerprint_of({"model": None}, tensors)
    assert found == fingerprint_of({"model": None}, dict(reversed(tensors.items())))
    assert found != fingerprint_of({"model": 1}, tensors)
    assert found != fingerprint_of({"model": None}, tensors | {"a": tensors["a"] + 1})
