"""Calibration: what is fitted holds on other classes, and what cannot be is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onelook
from onelook.calibration import fit, groups
from onelook.calibration.calibrate import DataChoice, calibrate, save_decision
from onelook.calibration.check import check
from onelook.calibration.galleries import simulate_galleries
from onelook.calibration.groups import Rates
from onelook.card import TrainingCard
from onelook.cli import main
from onelook.data.items import Dataset, Pairs
from onelook.errors import DataError
from onelook.evaluation.unseen import held_out_classes, unseen
from onelook.recipe import override
from onelook.training.train import train
from onelook.verifier import from_function


class Cloud:
    """Classes are points on a line with items around them; the name of an item is where."""

    shared = True
    name = "cloud"
    card = TrainingCard()

    def __init__(self, decision=None):
        self.decision = decision
        self.plain = self

    def embed(self, addresses, side="left"):
        return np.array([[float(a.rsplit("/", 1)[-1])] for a in addresses], np.float32)

    def score(self, left, right):
        return -np.abs(left - right)[:, 0]

    def score_matrix(self, left, right):
        return -np.abs(left - right.T)


def cloud(n_classes=60, n_each=12, seed=0, spread=0.02, groups=None):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), n_each)
    centres = generator.normal(size=n_classes)
    places = centres[labels] + spread * generator.normal(size=len(labels))
    return Dataset(
        "cloud",
        tuple(f"class{c:03d}/{x}" for c, x in zip(labels, places, strict=True)),
        labels,
        tuple(f"class{c:03d}" for c in range(n_classes)),
        groups=None if groups is None else groups[labels],
        group_names=() if groups is None else ("near", "far"),
    )


@pytest.fixture(autouse=True, scope="module")
def _few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "N_RESAMPLES", 50)
        patch.setattr(groups, "N_RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def found():
    return calibrate(Cloud(), cloud(200), far=0.05)


def test_far_probability_and_galleries_hold_on_other_classes(found):
    fresh = Cloud(found.decision)
    drift = check(fresh, cloud(200, seed=1))
    assert drift.verdict == "holds"
    assert drift.rates.far == pytest.approx(0.05, rel=0.3)
    assert drift.calibration_error <= 0.05
    values = fresh.embed(cloud(200, seed=1).paths)
    labels = np.repeat(np.arange(200), 12)
    sizes = (1, 7, 20, 150)
    met = simulate_galleries(fresh.score_matrix, values, values, labels, sizes=sizes)
    for size, unknown in zip(sizes, met.unknown, strict=True):
        limit = found.decision.identify_threshold(size)
        assert limit.fpir == pytest.approx(0.05, abs=0.001)
        assert 0.025 < (unknown >= limit.threshold).mean() < 0.1


def test_other_pairs_than_the_fitted_ones_are_noted(found):
    groups = np.arange(60) % 2
    drift = check(Cloud(found.decision), cloud(60, groups=groups))
    assert "fitted on pairs of any two classes, these are of two classes of" in str(drift)


def test_left_out_classes_are_judged_by_the_others(found):
    assert found.check.n_folds == 5
    assert found.check.far == pytest.approx(0.05, rel=0.4)
    assert found.check.reliability.error <= 0.05
    low, high = found.decision.intervals["far"]
    assert low < 0.05 < high and high < 0.1


def test_the_probability_is_at_the_stated_prior():
    rare = calibrate(Cloud(), cloud(), far=0.05, prior=0.05)
    assert rare.decision.prior == 0.05
    assert rare.check.reliability.error <= 0.05
    assert rare.decision.probability(-0.05) < rare.decision.probability(-0.05, prior=0.5)


def test_a_rate_that_the_data_cannot_carry_is_refused_with_what_is_needed():
    few = cloud(10, 3)  # 10 classes of 3: 405 different pairs
    with pytest.raises(
        ValueError, match="FAR 0.01 needs at least 3000 different pairs, got 405; .* 0.074"
    ):
        calibrate(Cloud(), few, far=0.01)
    assert calibrate(Cloud(), few, far=0.08).decision.far == 0.08
    with pytest.raises(ValueError, match="at least 10 held-out classes, got 9"):
        calibrate(Cloud(), cloud(9, 20), far=0.1)


def test_drift_is_told_in_words(found):
    strict = dataclasses.replace(found.decision, threshold=-0.001)
    lax = dataclasses.replace(found.decision, threshold=-0.5)
    fresh = cloud(100, seed=2)
    assert check(Cloud(strict), fresh).verdict == "too strict"
    drift = check(Cloud(lax), fresh)
    assert drift.verdict == "too lax" and "calibrate again" in str(drift)
    assert json.loads(json.dumps(drift.to_dict()))["verdict"] == "too lax"
    assert check(Cloud(found.decision), cloud(5)).verdict == "too few pairs to say"
    with pytest.raises(DataError, match="carries no threshold to check"):
        check(Cloud(), fresh)


@pytest.mark.parametrize(
    ("far", "interval", "n_different", "verdict"),
    [
        (0.01, (0.008, 0.012), 5000, "holds"),
        (0.018, (0.015, 0.021), 5000, "holds"),  # within a factor of 2
        (0.05, (0.03, 0.07), 5000, "too lax"),
        (0.05, (0.03, 0.07), 100, "too lax"),  # so many, that few pairs are enough
        (0.001, (0.0, 0.003), 5000, "too strict"),
        (0.001, (0.0, 0.02), 5000, "too few pairs to say"),
        (0.01, (0.008, 0.012), 500, "too few pairs to say"),
        (0.05, None, 5000, "too few pairs to say"),
    ],
)
def test_verdicts_at_a_stated_rate_of_one_in_a_hundred(far, interval, n_different, verdict):
    n_classes = 50 if interval else 6  # of fewer than ten there are no intervals
    measured = Rates(far, 0.1, interval, None, n_classes, 100, n_different)
    assert measured.verdict(0.01) == verdict


@pytest.mark.parametrize(
    ("far", "verdict"),
    [(0.385, "too lax"), (0.05, "too few pairs to say"), (0.0, "too few pairs to say")],
)
def test_of_six_classes_only_a_gross_failure_is_told(far, verdict):
    measured = Rates(far, 0.1, None, None, 6, 100, 375)
    assert measured.verdict(0.057) == verdict


def test_a_threshold_that_fails_one_group_is_seen(tmp_path):
    # The classes of one group crowd together.
    groups = np.arange(60) % 2
    items = cloud(60, groups=groups)
    crowded = [
        f"{path.split('/')[0]}/{float(path.split('/')[1]) / (1 if group else 20)}"
        for path, group in zip(items.paths, items.groups, strict=True)
    ]
    items = dataclasses.replace(items, paths=tuple(crowded), groups=None, group_names=())
    table = tmp_path / "groups.csv"
    names = ("crowd", "others")
    table.write_text("".join(f"class{c:03d},{names[groups[c]]}\n" for c in range(60)))
    found = calibrate(Cloud(), items, far=0.2, group_by=table)
    by_name = {group.name: group for group in found.groups}
    assert by_name["crowd"].verdict == "too lax"
    assert by_name["crowd"].rates.far > 2 * by_name["others"].rates.far
    assert "crowd" in str(found) and len(found.to_dict()["groups"]) == 2


def test_groups_that_name_nothing_here_are_refused(tmp_path):
    table = tmp_path / "groups.tsv"
    table.write_text("elsewhere\tA\n")
    with pytest.raises(DataError, match="none of its 1 names is here.*'class000'"):
        calibrate(Cloud(), cloud(), far=0.05, group_by=table)
    table.write_text("a\tb\tc\n")
    with pytest.raises(DataError, match="groups.tsv:1: expected NAME,GROUP, got 3 fields"):
        calibrate(Cloud(), cloud(), far=0.05, group_by=table)
    with pytest.raises(DataError, match="no folders above its class folders"):
        calibrate(Cloud(), cloud(), far=0.05, group_by="folder")


def test_a_list_of_pairs_gives_a_threshold_but_no_galleries():
    items = cloud(40)
    generator = np.random.default_rng(0)
    left, right = generator.integers(len(items), size=(2, 4000))
    right[:1000] = left[:1000] // 12 * 12 + (left[:1000] + 1) % 12
    pairs = Pairs(
        tuple(items.paths[i] for i in left),
        tuple(items.paths[i] for i in right),
        is_same=items.labels[left] == items.labels[right],
        source="pairs.txt",
    )
    found = calibrate(Cloud(), pairs, far=0.05)
    assert found.decision.far == 0.05 and found.decision.identify == ()
    assert "no thresholds for galleries" in str(found)


@pytest.fixture(scope="module")
def run(shapes_folder, shapes_recipe, tmp_path_factory):
    recipe = override(shapes_recipe, {"epochs": 2})
    out = tmp_path_factory.mktemp("run") / "shapes"
    return train(recipe, data=shapes_folder, out=out, progress=False)


def test_a_training_ends_with_the_decision_that_its_held_out_classes_support(run):
    decision = onelook.load(run.out).decision
    assert decision.n_classes == 12 and decision.n_different == 66 * 64
    assert decision.far == 0.01  # 4,224 pairs carry it
    assert decision.identify_threshold(5).fpir == pytest.approx(30 / 96, abs=0.01)
    assert decision.identify_threshold(50).extrapolated
    assert set(decision.intervals) == {"threshold", "far", "frr"}
    assert "Who is it? (1:N)" in run.report.read_text("utf-8")


def test_what_a_model_was_trained_on_is_left_out(run, shapes_folder):
    held = held_out_classes(run.verifier, shapes_folder)
    opened = unseen(run.verifier, DataChoice(shapes_folder))
    assert opened.data.class_names == held.class_names and len(held.class_names) == 12
    assert "left out 12 of 24 classes" in opened.notes[0]
    drift = check(run.verifier, shapes_folder)
    assert drift.rates.n_classes == 12


def test_measuring_what_was_trained_on_is_noticed(run, shapes_folder, caplog):
    onelook.evaluate(run.verifier, "folder-one-shot", shapes_folder)
    (warning,) = caplog.messages
    assert "was trained on 12 of the 24 classes" in warning


def test_what_cannot_be_known_of_the_training_is_said(run, tmp_path):
    for shape in range(12):
        (tmp_path / f"c{shape}").mkdir()
        for i in range(3):
            noise = np.random.default_rng([shape, i]).integers(0, 255, (16, 16))
            Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"c{shape}/{i}.png")
    found = calibrate(run.verifier, tmp_path, far=0.1)
    assert "are not known here" in found.notes[0]
    with pytest.raises(DataError, match="not the data that shapes was trained on"):
        held_out_classes(run.verifier, tmp_path)
    own = from_function(lambda images: np.zeros((len(images), 2)), name="mine")
    with pytest.raises(DataError, match="the card of mine has no recipe"):
        calibrate(own)


def test_the_command_writes_a_copy_whose_embeddings_are_the_same(
    run, shapes_folder, tmp_path, capsys
):
    out = tmp_path / "again"
    arguments = ["calibrate", str(run.out), "--data", str(shapes_folder), "--far", "0.02"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(out), "--json"])
    assert stop.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    again = onelook.load(out)
    assert again.decision.far == printed["decision"]["far"] == 0.02
    assert again.fingerprint == run.verifier.fingerprint
    assert again.card.calibration.items == 96
    assert "Who is it? (1:N)" in (out / "calibration.html").read_text("utf-8")
    assert onelook.load(run.out).decision.far == 0.01  # the first stays


def test_the_command_refuses_to_change_shipped_weights(shapes_folder, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "omniglot", "--data", str(shapes_folder)])
    assert stop.value.code == 1
    assert "--out FOLDER writes a copy" in capsys.readouterr().err


def test_the_command_checks(run, shapes_folder, capsys):
    arguments = ["calibrate", str(run.out), "--data", str(shapes_folder), "--check"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "verdict" in capsys.readouterr().out


@pytest.mark.data
def test_the_shipped_decision_is_that_of_its_held_out_alphabets(data_root: Path):
    shipped = onelook.load("omniglot")
    assert len(held_out_classes(shipped).class_names) == shipped.decision.n_classes
    assert calibrate(shipped).decision.threshold == pytest.approx(
        shipped.decision.threshold, abs=0.01
    )


def test_a_decision_is_put_into_a_model_in_place(run, found, tmp_path):
    folder = run.verifier.save(tmp_path / "model")
    before = (folder / "model.safetensors").read_bytes()
    save_decision(folder, found, folder)
    assert onelook.load(folder).decision == found.decision
    assert (folder / "model.safetensors").read_bytes() == before
