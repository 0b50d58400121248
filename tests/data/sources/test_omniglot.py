"""Omniglot from zips and trees, its runs, strokes and splits."""

import logging
import zipfile
from contextlib import ExitStack

import numpy as np
import pytest

from onelook.data.archives import address_exists
from onelook.data.sources import omniglot as module
from onelook.data.sources.omniglot import (
    omniglot,
    omniglot_koch,
    omniglot_runs,
    omniglot_vinyals,
)
from onelook.errors import DataError


def names(part, alphabets, suffix="png", n_characters=2, n_drawers=3, top=None):
    return [
        f"{top or part}/{alphabet}/character{c:02d}/{a}{c:03d}_{d:02d}.{suffix}"
        for a, alphabet in enumerate(alphabets)
        for c in range(1, n_characters + 1)
        for d in range(1, n_drawers + 1)
    ]


def write(target, members):
    """Members as a zip, or as a tree under a folder."""
    if target.suffix == ".zip":
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target, "w") as archive:
            for name in members:
                archive.writestr(name, "x")
            archive.writestr("__MACOSX/" + members[0], "x")
        return
    for name in members:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("x")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "N_CHARACTERS", {"background": 4, "evaluation": 2})


@pytest.mark.parametrize("place", ["", "omniglot", "python", "omniglot-py"])
@pytest.mark.parametrize("kind", ["zip", "tree", "tree in tree"])
def test_zips_and_trees_are_found_wherever_they_lie(tmp_path, place, kind):
    members = names("images_background", ["Latin", "Greek"])
    folder = tmp_path / place
    target = {
        "zip": folder / "images_background.zip",
        "tree": folder,
        "tree in tree": folder / "images_background",
    }[kind]
    write(target, members)
    data = omniglot(tmp_path)
    assert data.group_names == ("Greek", "Latin")
    assert data.class_names == (
        "Greek/character01",
        "Greek/character02",
        "Latin/character01",
        "Latin/character02",
    )
    assert data.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert data.groups.tolist() == [0] * 6 + [1] * 6
    assert data.drawers.tolist() == [1, 2, 3] * 4
    for path, label in zip(data.paths, data.labels, strict=True):
        assert data.class_names[label] in path and address_exists(path)
    assert omniglot(tmp_path).fingerprint == data.fingerprint


def test_all_parts_come_together_background_first(tmp_path):
    write(tmp_path / "images_background.zip", names("images_background", ["Z", "Y"]))
    write(tmp_path, names("images_evaluation", ["A"]))
    data = omniglot(tmp_path, "all")
    assert data.group_names == ("Y", "Z", "A") and data.n_classes == 6
    assert data.splits.tolist() == ["background"] * 12 + ["evaluation"] * 6


def test_a_zip_goes_before_a_tree_that_may_be_half_unpacked(tmp_path):
    write(tmp_path / "images_background.zip", names("images_background", ["A", "B"]))
    write(tmp_path, names("images_background", ["A"]))
    assert omniglot(tmp_path).group_names == ("A", "B")


def test_an_incomplete_part_is_warned_of(tmp_path, caplog):
    write(tmp_path, names("images_background", ["A"]))
    with caplog.at_level(logging.WARNING):
        omniglot(tmp_path)
    assert "has 2 characters, Omniglot's background part has 4: is it whole?" in caplog.text


def test_what_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(DataError, match="no images_background.zip .*--download fetches"):
        omniglot(tmp_path)
    write(tmp_path / "images_background.zip", ["images_background/readme.md"])
    with pytest.raises(DataError, match="holds no ALPHABET/characterNN/CCCC_DD.png"):
        omniglot(tmp_path)
    with pytest.raises(
        ValueError, match="unknown part 'big' of Omniglot; known: background"
    ):
        omniglot(tmp_path, "big")
    with pytest.raises(DataError, match="no all_runs.zip in"):
        omniglot_runs(tmp_path)
    write(tmp_path / "images_background.zip", names("images_background", ["A"]))
    write(tmp_path / "images_evaluation.zip", names("images_evaluation", ["Tibetan"]))
    with pytest.raises(
        DataError, match="lacks Atlantean, .*needs all of images_evaluation"
    ):
        omniglot_koch(tmp_path)
    with pytest.raises(DataError, match="needs all 1,623 characters .* has 4; fetch"):
        omniglot_vinyals(tmp_path)


def runs(order=range(20)):
    members = {}
    for r in range(1, 21):
        lines = []
        for query, answer in enumerate(order):
            test = f"run{r:02d}/test/item{query + 1:02d}.png"
            support = f"run{r:02d}/training/class{answer + 1:02d}.png"
            members[test] = members[support] = "x"
            lines.append(f"{test} {support}")
        members[f"run{r:02d}/class_labels.txt"] = "\n".join(lines) + "\n"
    return members


@pytest.mark.parametrize("place", ["zip", "all_runs", "one-shot-classification", ""])
def test_runs_are_found_zipped_and_unpacked(tmp_path, place):
    order = np.random.default_rng(0).permutation(20)
    members = runs(order)
    if place == "zip":
        with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    for name, content in members.items() if place != "zip" else ():
        (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).write_text(content)
    got = omniglot_runs(tmp_path)
    assert [run.name for run in got] == [f"run{r:02d}" for r in range(1, 21)]
    for run in got:
        assert [s[-6:-4] for s in run.support] == [f"{i:02d}" for i in range(1, 21)]
        assert [q[-6:-4] for q in run.queries] == [f"{i:02d}" for i in range(1, 21)]
        np.testing.assert_array_equal(run.answers, order)
        assert run.answers.dtype == np.int64
        assert all(map(address_exists, run.support + run.queries))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("run07/class_labels.txt"), "has no run07; fetch it again"),
        (lambda m: m.pop("run03/test/item05.png"), "there is no run03/test/item05.png"),
        (
            lambda m: m.update({"run02/class_labels.txt": "a b c\n"}),
            "run02/class_labels.txt: expected 20 lines .* got 'a b c'",
        ),
        (
            lambda m: m.update({"run02/class_labels.txt": "a b\n" * 20}),
            "run02/class_labels.txt: expected 20 lines",
        ),
    ],
)
def test_a_damaged_run_is_named(tmp_path, change, message):
    members = runs()
    change(members)
    with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match=message):
        omniglot_runs(tmp_path)


@pytest.fixture
def real(data_root, monkeypatch):
    monkeypatch.setattr(module, "N_CHARACTERS", {"background": 964, "evaluation": 659})
    return data_root / "omniglot"


@pytest.mark.data
def test_the_real_omniglot_has_the_published_counts(real, caplog):
    for part, n_items, n_classes, n_groups in (
        ("background", 19_280, 964, 30),
        ("evaluation", 13_180, 659, 20),
        ("all", 32_460, 1_623, 50),
        ("small1", 2_720, 136, 5),
        ("small2", 3_120, 156, 5),
    ):
        data = omniglot(real, part)
        assert (len(data), data.n_classes, len(data.group_names)) == (
            n_items,
            n_classes,
            n_groups,
        )
        assert np.bincount(data.labels).tolist() == [20] * n_classes
        assert set(np.bincount(data.drawers)[1:].tolist()) == {n_classes}
    assert caplog.text == ""
    assert omniglot(real.parent).fingerprint == omniglot(real).fingerprint


@pytest.mark.data
def test_the_real_runs_are_drawings_of_the_ten_alphabets(real):
    """Pixel for pixel: one drawer's drawings of one alphabet on each side of a run."""
    from PIL import Image

    archives = {}

    def pixels(address):
        archive, member = address.split("!/")
        if archive not in archives:
            archives[archive] = closing.enter_context(zipfile.ZipFile(archive))
        with archives[archive].open(member) as png:
            return np.asarray(Image.open(png).convert("1")).tobytes()

    evaluation = omniglot(real, "evaluation").of_groups(module.RUN_ALPHABETS[:2])
    with ExitStack() as closing:
        known = {pixels(path): i for i, path in enumerate(evaluation.paths)}
        found = 0
        for run in omniglot_runs(real):
            support = [known.get(pixels(path)) for path in run.support]
            if support[0] is None:  # of another alphabet
                continue
            queries = [known[pixels(path)] for path in run.queries]
            assert len(set(evaluation.groups[support + queries])) == 1
            assert len(set(evaluation.drawers[support])) == 1
            assert len(set(evaluation.drawers[queries])) == 1
            answers = evaluation.labels[support][run.answers]
            np.testing.assert_array_equal(answers, evaluation.labels[queries])
            found += 1
    assert found == 4  # two runs of each of these two alphabets


@pytest.mark.data
def test_koch_s_parts_share_neither_alphabet_nor_drawer(real):
    data = omniglot_koch(real)
    parts = {name: data.of_split(name) for name in ("train", "val", "test")}
    assert {n: len(p.group_names) for n, p in parts.items()} == {
        "train": 30,
        "val": 10,
        "test": 10,
    }
    assert set(parts["test"].group_names) == set(module.RUN_ALPHABETS)
    assert [len(np.unique(p.drawers)) for p in parts.values()] == [12, 4, 4]
    for column in ("group_names", "class_names", "drawers"):
        sets = [set(getattr(p, column)) for p in parts.values()]
        assert sum(map(len, sets)) == len(set().union(*sets))
    assert len(parts["train"]) == 964 * 12


@pytest.mark.data
def test_vinyals_parts_are_1200_and_423_characters_of_one_seed(real):
    data = omniglot_vinyals(real)
    train, test = data.of_split("train"), data.of_split("test")
    assert (train.n_classes, test.n_classes) == (1_200, 423)
    assert not set(train.class_names) & set(test.class_names)
    assert omniglot_vinyals(real).of_split("test").fingerprint == test.fingerprint
    assert omniglot_vinyals(real, 1).of_split("test").fingerprint != test.fingerprint
