"""The command line: what it prints and where, and how it ends."""

import csv
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from onelook.card import TrainingCard
from onelook.cli import main
from onelook.cli.printing import say_listed
from onelook.cli.shared import app, check_files
from onelook.cli.train import _setting
from onelook.data.inputs import ImageInput
from onelook.decision import Decision
from onelook.loading import load
from onelook.models.network import build_model
from onelook.recipe import ImageSettings
from onelook.training.loop import Interrupted
from onelook.verifier import from_model


@pytest.fixture
def onelook(capsys):
    """Run a command line and give (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return end.value.code or 0, output.out, output.err

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A saved network that is not trained, with a decision between its scores."""
    settings = {
        "encoder": {
            "name": "compact",
            "arguments": {"width": 8, "embedding_size": 16, "input_shape": [1, 16, 16]},
        },
        "similarity": {"name": "cosine", "arguments": {}},
    }
    decision = Decision(
        threshold=0.995,
        reject_below=0.99,
        far=0.1,
        prior=0.5,
        slope=10.0,
        intercept=-9.9,
        n_same=100,
        n_different=400,
        n_classes=20,
    )
    recipe = {"data": {"source": "class-folder"}}
    card = TrainingCard(name="untrained", recipe=recipe)
    preprocess = ImageInput(ImageSettings(height=16, width=16, invert=True))
    verifier = from_model(
        build_model(settings), preprocess, decision=decision, card=card, network=settings
    )
    return verifier.save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def three(shapes_folder) -> list[str]:
    names = ("shape00/0.png", "shape00/1.png", "shape01/0.png")
    return [str(shapes_folder / name) for name in names]


def test_compare_gives_what_the_library_gives(onelook, model, three):
    expected = load(model).compare(three[0], three[1])
    status, out, _ = onelook("compare", three[0], three[1], "--model", model)
    assert (status, out) == (0, f"{expected}\n")
    status, out, _ = onelook("compare", three[0], three[1], "--model", model, "--json")
    assert json.loads(out) == expected.to_dict()


def test_pairs_without_a_threshold_say_why_there_is_no_verdict(
    onelook, model, three, tmp_path
):
    verifier = load(model)
    verifier.decision = None
    plain = verifier.save(tmp_path / "plain")
    pairs = tmp_path / "pairs.txt"
    pairs.write_text(f"{three[0]} {three[1]} 1\n")
    status, out, err = onelook("compare", "--pairs", pairs, "-m", plain, "--same", 1)
    assert status == 0 and out.splitlines()[1].startswith(f"{three[0]},{three[1]},,,")
    assert "no verdicts: the model has no threshold; add one with onelook calibrate" in err


def test_control_characters_of_names_do_not_reach_the_terminal(onelook, model, tmp_path):
    name = tmp_path / "\x1b[2J\x9ba.png"
    _, _, said = onelook("compare", name, name, "--model", model)
    assert "\\x1b[2J\\x9ba.png: no such file" in said and "\x1b" not in said
    Image.new("L", (16, 16)).save(name)
    _, printed, _ = onelook("compare", name, name, name, "--model", model)
    assert "\\x1b[2J\\x9ba.png" in printed and "\x1b" not in printed


def test_compare_ranks_the_most_alike_first_and_draws(onelook, model, three, tmp_path):
    verifier = load(model)
    picture = tmp_path / "picture.png"
    first, *others = three
    others.append(first)
    status, out, err = onelook(
        "compare", first, *others, "-m", model, "-o", picture, "--json"
    )
    scores = {other: verifier.compare(first, other).score for other in others}
    ranked = [answer["right"] for answer in json.loads(out)]
    assert status == 0 and ranked == sorted(others, key=lambda other: -scores[other])
    assert ranked[0] == first
    assert str(picture) in err
    with Image.open(picture) as image:
        assert min(image.size) > 100
    _, out, _ = onelook("compare", first, *others, "-m", model)
    assert [line.split()[0] for line in out.splitlines()] == ranked


@pytest.mark.parametrize("same", [0, 1])
def test_compare_pairs_prints_a_table_and_the_accuracy(
    onelook, model, shapes_folder, tmp_path, same
):
    pairs = [(f"shape{a:02d}/0.png", f"shape{b:02d}/1.png") for a in (0, 1) for b in (0, 1)]
    labels = [same, 1 - same, 1 - same, same]
    lines = [f"{a} {b} {label}\n" for (a, b), label in zip(pairs, labels, strict=True)]
    file = tmp_path / "pairs.txt"
    file.write_text("".join(lines))
    arguments = ("compare", "--pairs", file, "-m", model, "--root", shapes_folder)
    status, out, err = onelook(*arguments)
    assert status == 1 and f"error: {file}:1: what does label" in err
    status, out, err = onelook(*arguments, "--same", same)
    verifier, right = load(model), 0
    rows = list(csv.DictReader(out.splitlines()))
    for row, (a, b), label in zip(rows, pairs, labels, strict=True):
        answer = verifier.compare(shapes_folder / a, shapes_folder / b)
        assert row["verdict"] == answer.verdict
        assert (row["left"], row["right"]) == (answer.left, answer.right)
        assert float(row["score"]) == pytest.approx(answer.score, abs=1e-6)
        assert float(row["probability"]) == pytest.approx(answer.probability, abs=1e-6)
        right += (answer.score >= 0.995) == (label == same)
    assert status == 0 and f"accuracy {right / 4:.4f} of 4 pairs" in err
    _, out, _ = onelook(*arguments, "--same", same, "--json")
    content = json.loads(out)
    assert content["accuracy"] == right / 4 and len(content["pairs"]) == 4
    lines.insert(2, f"shape00/0.png missing.png {same}\n")
    file.write_text("".join(lines))
    missing = shapes_folder / "missing.png"
    missing.write_bytes(b"no image")
    _, _, err = onelook(*arguments, "--same", same, "--skip-bad")
    missing.unlink()
    assert "missing.png: not an image" in err
    assert f"accuracy {right / 4:.4f} of 4 pairs" in err


def test_compare_of_two_folders_makes_a_table(onelook, model, shapes_folder, tmp_path):
    left, right = shapes_folder / "shape00", shapes_folder / "shape01"
    asked = ("compare", left, right, "-m", model)
    status, out, err = onelook(*asked)
    rows = list(csv.DictReader(out.splitlines()))
    names = [(Path(row["left"]).name, Path(row["right"]).name) for row in rows]
    assert (status, err) == (0, "") and names == [(f"{i}.png",) * 2 for i in range(8)]
    file = tmp_path / "results.csv"
    status, out, err = onelook(*asked, "--all", "--out", file)
    assert (status, out) == (0, "") and f"64 pairs: {file}" in err
    assert len(file.read_text().splitlines()) == 65
    content = json.loads(onelook(*asked, "--json")[1])
    expected = load(model).compare(left / "0.png", right / "0.png")
    assert content["pairs"][0] == expected.to_dict()
    status, _, err = onelook(*asked, "--out", "results.png")
    assert status == 2 and "many pairs go into a .csv file" in err
    status, out, _ = onelook("compare", left / "0.png", right, "-m", model, "--json")
    assert status == 0 and len(json.loads(out)) == 8
    status, _, err = onelook("compare", *[left / "0.png"] * 2, "--all", "-m", model)
    assert status == 2 and "compares two folders" in err


def test_compare_without_a_model_takes_the_shipped_drawings_and_says_so(
    onelook, three, model, tmp_path, monkeypatch
):
    verifier = load(model)
    verifier.card = verifier.card.model_copy(update={"purpose": "drawn shapes"})
    for name in ("omniglot", "faces"):
        verifier.save(tmp_path / name)
    monkeypatch.setattr("onelook.zoo.FOLDER", tmp_path)
    status, out, err = onelook("compare", three[0], three[1])
    assert (status, out) == (0, f"{verifier.compare(three[0], three[1])}\n")
    assert err == (
        "model: omniglot, for drawn shapes, which these look like; others with --model "
        "(see onelook models)\n"
    )


def test_compare_without_a_model_takes_photos_for_photographs(
    onelook, model, tmp_path, monkeypatch
):
    verifier = load(model)
    verifier.card = verifier.card.model_copy(update={"purpose": "photographs"})
    verifier.save(tmp_path / "photos")
    monkeypatch.setattr("onelook.zoo.FOLDER", tmp_path)
    rng, paths = np.random.default_rng(0), []
    for i in range(2):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        paths.append(tmp_path / f"{i}.png")
        coarse.resize((90, 60), Image.Resampling.BICUBIC).save(paths[-1])
    status, out, err = onelook("compare", *paths)
    assert (status, out) == (0, f"{verifier.compare(*paths)}\n")
    assert err == (
        "model: photos, for photographs, which these look like; for faces --model "
        "dlib-faces is better; others with --model (see onelook models)\n"
    )


@pytest.mark.parametrize("command", [("compare",), ("explain", "-o", "why.png"), ("find",)])
def test_a_missing_file_is_named_before_anything_heavy_is_imported(
    onelook, model, three, command, monkeypatch
):
    monkeypatch.setitem(sys.modules, "onelook.loading", None)  # importing it would fail
    for chosen in ([], ["--model", str(model)]):
        status, out, err = onelook(command[0], three[0], "no.png", *command[1:], *chosen)
        assert (status, out, err) == (1, "", "error: no.png: no such file\n")


def test_a_text_is_not_a_missing_file_where_one_side_takes_texts(tmp_path):
    sides = {"preprocess": {"kind": "image"}, "right_preprocess": {"kind": "text"}}
    (tmp_path / "model.json").write_text(json.dumps(sides))
    check_files(["mug.png", "blue mug"], str(tmp_path))


def test_models_lists_what_ships_with_purpose_and_needs(onelook):
    status, out, _ = onelook("models")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert status == 0 and lines["omniglot"] == "drawings of characters and symbols"
    assert lines["dlib-faces"].endswith("needs onelook[faces]")
    _, out, _ = onelook("models", "--json")
    assert [row["name"] for row in json.loads(out)] == list(lines)


def test_a_model_is_described(onelook, model):
    status, out, _ = onelook("models", "omniglot")
    assert status == 0 and out.startswith("omniglot\n  for ")
    assert "at a false-accept rate of 0.01" in out and "## Not meant for" in out
    found = json.loads(onelook("models", "dlib-faces", "--json")[1])
    assert (found["name"], found["needs"]) == ("dlib-faces", "onelook[faces]")
    assert found["threshold"] == load("dlib-faces").decision.threshold
    assert "score 0.9950 at a false-accept rate of 0.1" in onelook("models", model)[1]
    status, _, err = onelook("models", "photoz")
    assert status == 1 and "shipped with onelook: dlib-faces" in err


def test_a_slip_in_the_ending_of_a_gallery_makes_no_other_one(
    onelook, model, three, tmp_path
):
    asked = ("enroll", three[0], "--model", model, "--gallery")
    status, _, err = onelook(*asked, tmp_path / "people.dbx")
    assert status == 1 and f"or nothing: {tmp_path / 'people.db'}" in err
    assert not list(tmp_path.iterdir())
    for name in ("people.db", "people", "people.SQLITE"):
        assert onelook(*asked, tmp_path / name)[0] == 0


def test_a_folder_of_images_is_identified(onelook, model, shapes_folder, tmp_path):
    gallery, folder = tmp_path / "g.db", shapes_folder / "shape00"
    assert onelook("enroll", folder / "0.png", "-g", gallery, "--model", model)[0] == 0
    asked = ("identify", folder, "-g", gallery, "--model", model)
    rows = json.loads(onelook(*asked, "--json")[1])
    assert [row["path"] for row in rows] == [str(folder / f"{i}.png") for i in range(8)]
    assert len(onelook(*asked)[1].splitlines()) == 8
    assert "draws one image" in onelook(*asked, "--out", "who.png")[2]


def test_threads_are_limited_before_the_command_runs(onelook, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    status, _, err = onelook("compare", "a.png", "b.png", "--threads", "0")
    assert status == 2 and "--threads" in err
    onelook("compare", "no.png", "b.png", "--threads", "3")
    assert os.environ["OMP_NUM_THREADS"] == "3"


def _options() -> list[tuple[str, str, dict[str, object]]]:
    """Command, name and settings of every option."""
    found = []

    def collect(name, command):
        for each, other in getattr(command, "commands", {}).items():
            collect(f"{name} {each}".strip(), other)
        for option in command.params:
            if option.param_type_name == "option":
                found.append((name, max(option.opts, key=len), option))

    collect("", typer.main.get_command(app))
    return found


def test_an_option_of_several_commands_has_one_help_text():
    texts: dict[str, set[str]] = {}
    for _, name, option in _options():
        texts.setdefault(name, set()).add(option.help)
    # These mean what a command writes, checks or takes; --model says its default.
    own = {"--out", "--model", "--check", "--data", "--seed", "--name"}
    assert {name for name, found in texts.items() if len(found) > 1} <= own


def test_every_command_that_answers_prints_json_and_takes_a_model_by_name():
    commands: dict[str, set[str]] = {}
    for command, name, _ in _options():
        commands.setdefault(command, set()).add(name)
    assert {name for name, found in commands.items() if "--json" not in found} == {
        "",
        "serve",
    }
    using = {
        *("compare", "explain", "find", "embed", "enroll", "identify", "serve"),
        *("evaluate", "calibrate", "gallery migrate", "gallery import", "gallery cohort"),
        "review",
    }
    assert {name for name, found in commands.items() if "--model" in found} == using


def test_a_model_is_named_once(onelook, model):
    for command in ("evaluate", "calibrate"):
        status, _, err = onelook(command)
        assert status == 2 and "name one model" in err
        status, _, err = onelook(command, model, "--model", model)
        assert status == 2 and "name one model" in err


def test_compare_where_no_weights_ship_says_what_to_give(
    onelook, three, tmp_path, monkeypatch
):
    monkeypatch.setattr("onelook.zoo.FOLDER", tmp_path)
    status, out, err = onelook("compare", three[0], three[1])
    assert (status, out) == (1, "")
    assert err.startswith("error: no model 'omniglot'")
    assert "shipped with onelook: none; train one with" in err


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_embed_keeps_paths_beside_vectors(onelook, model, shapes_folder, tmp_path, kind):
    file = tmp_path / f"vectors.{kind}"
    folder = shapes_folder / "shape03"
    status, out, _ = onelook("embed", folder, "-m", model, "-o", file)
    assert (status, out) == (0, f"8 vectors of 16 numbers: {file}\n")
    if kind == "npz":
        with np.load(file) as content:
            paths, vectors = content["paths"].tolist(), content["vectors"]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(file).to_pydict()
        paths, vectors = table["path"], np.array(table["vector"], np.float32)
    assert paths == sorted(map(str, folder.glob("*.png")))
    np.testing.assert_array_equal(vectors, load(model).embed(paths))


def test_embed_reports_broken_images_at_the_end(onelook, model, three, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    file = tmp_path / "vectors.npz"
    arguments = ("embed", three[0], broken, three[2], "-m", model, "-o", file)
    status, out, err = onelook(*arguments)
    assert (status, out) == (1, "") and not file.exists()
    assert err.startswith(f"error: {broken}: not an image")
    status, out, err = onelook(*arguments, "--skip-bad", "--json")
    assert status == 0 and f"skipped {broken}" in err
    assert json.loads(out)["vectors"] == 2
    with np.load(file) as content:
        assert content["paths"].tolist() == [three[0], three[2]]


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "{good}", "{images}"),
        ("calibrate", "-m", "{model}", "--data", "{folder}", "--out", "{out}"),
        ("embed", "{images}", "-o", "{out}.npz"),
    ],
    ids=lambda command: command[0],
)
def test_skip_bad_is_advised_by_the_commands_that_have_it(
    onelook, model, three, tmp_path, command
):
    folder = tmp_path / "photos"
    for i in range(12):
        (folder / f"{i // 2}").mkdir(parents=True, exist_ok=True)
        (folder / f"{i // 2}" / f"{i}.png").write_bytes(b"not a picture")
    images = sorted(map(str, folder.rglob("*.png")))
    values = {"{model}": model, "{folder}": folder, "{out}": tmp_path / "out"}
    values["{good}"] = three[0]
    values["{out}.npz"] = tmp_path / "out.npz"
    arguments = [one for word in command for one in _filled(word, values, images)]
    if "-m" not in arguments:
        arguments += ["-m", model]
    status, _, err = onelook(*arguments)
    assert status == 1 and "repair or remove them" in err
    options = typer.main.get_command(app).commands[command[0]].params
    has_it = any("--skip-bad" in option.opts for option in options)
    assert ("--skip-bad" in err) == has_it


def _filled(word, values, images):
    return images if word == "{images}" else [values.get(word, word)]


def test_many_skipped_images_are_counted(capsys):
    say_listed("skipped", [(f"{i}.png", "not an image") for i in range(985)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "skipped 0.png: not an image" and len(lines) == 11
    assert lines[10] == "skipped 975 more (--json names all)"


def test_embed_fills_a_folder_that_enroll_takes(onelook, model, shapes_folder, tmp_path):
    out, gallery = tmp_path / "vectors", tmp_path / "shapes.db"
    status, text, _ = onelook("embed", shapes_folder, "-m", model, "--out", out)
    assert (status, text) == (0, f"192 vectors of 16 numbers: {out}\n")
    status, text, _ = onelook("embed", shapes_folder, "-m", model, "--out", out, "--json")
    assert json.loads(text)["n_before"] == 192
    status, _, err = onelook("embed", shapes_folder, "-m", "omniglot", "--out", out)
    assert status == 1 and f"{out} was begun with the model" in err
    arguments = ("enroll", "--vectors", out, "--gallery", gallery, "-m", model)
    status, _, err = onelook(*arguments)
    assert status == 0, err
    status, _, err = onelook(*arguments, shapes_folder)
    assert status == 2 and "takes no images and nothing about them" in err
    status, _, err = onelook("enroll", "--gallery", gallery)
    assert status == 2 and "name images, or --vectors" in err
    status, text, _ = onelook("identify", shapes_folder / "shape03/0.png", "-g", gallery)
    assert status == 0 and "shape03" in text


@pytest.mark.parametrize(
    ("out", "workers", "why"),
    [("v.npz", "2", "needs --out FOLDER"), ("v", "none", "expected a number or ray")],
)
def test_embed_refuses_workers_that_it_cannot_have(
    onelook, three, tmp_path, out, workers, why
):
    arguments = ("embed", three[0], "--out", tmp_path / out, "--workers", workers)
    status, _, err = onelook(*arguments)
    assert status == 2 and why in err


def test_embed_refuses_another_ending_before_it_works(onelook, model, three):
    status, _, err = onelook("embed", three[0], "-m", "nowhere", "-o", "vectors.csv")
    assert status == 1 and err.startswith("error: vectors go into a file ending in .npz")


def test_data_describes_a_folder_and_draws_pairs(onelook, shapes_folder, tmp_path):
    picture = tmp_path / "pairs.png"
    status, out, err = onelook("data", shapes_folder, "--show", picture)
    assert status == 0 and picture.exists() and str(picture) in err
    assert "192" in out and "24" in out and "32 x 32" in out
    status, out, _ = onelook("data", shapes_folder, "--json")
    content = json.loads(out)
    assert (content["images"], content["classes"]) == (192, 24)
    assert content["images_per_class"] == {"smallest": 8, "median": 8, "largest": 8}


def test_data_names_broken_images_and_fails_without_skip_bad(onelook, tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (20, 20), 9).save(tmp_path / name)
    whole = (tmp_path / "a/1.png").read_bytes()
    (tmp_path / "b/cut.png").write_bytes(whole[:-30])  # its header is sound
    status, out, err = onelook("data", tmp_path)
    assert status == 1 and str(tmp_path / "b/cut.png") in out
    assert err.startswith("error: 1 of 5 images cannot be read")
    status, out, _ = onelook("data", tmp_path, "--skip-bad", "--show", tmp_path / "p.png")
    assert status == 0 and (tmp_path / "p.png").exists()


def test_data_warns_of_images_below_the_depth(onelook, tmp_path):
    for name in ("greek/alpha/1.png", "greek/1.png", "latin/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("L", (20, 20), 9).save(tmp_path / name)
    status, _, err = onelook("data", tmp_path)
    assert status == 0 and err.startswith("warning: ") and "pass --depth 1" in err


def test_data_names_the_line_of_a_malformed_pair_file(onelook, three, tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text(f"# same=1\n{three[0]} {three[1]} 1\n{three[0]} 1\n")
    status, _, err = onelook("data", file)
    assert status == 1 and err.startswith(f"error: {file}:3: expected PATH PATH LABEL")


def test_an_unknown_source_lists_the_known(onelook):
    status, _, err = onelook("data", "omniglott")
    assert status == 1 and "no source 'omniglott'" in err and "omniglot, strokes" in err


def test_data_sets_are_listed(onelook):
    status, out, _ = onelook("data")
    assert status == 0 and "omniglot" in out and "40 products" in out


def test_evaluate_prints_what_the_library_measures(onelook, shapes_folder, tmp_path):
    from onelook.evaluation.protocols import evaluate

    for name in ("shape00", "shape01", "shape02"):
        shutil.copytree(shapes_folder / name, tmp_path / name)
    expected = evaluate("nearest-pixels", "folder-verification", tmp_path)
    arguments = ("evaluate", "nearest-pixels", "-p", "folder-verification")
    status, out, _ = onelook(*arguments, "--data", tmp_path)
    assert (status, out) == (0, f"{expected}\n")
    status, out, _ = onelook(*arguments, "--data", tmp_path, "--json")
    assert json.loads(out) == json.loads(json.dumps(expected.to_dict()))


def test_evaluate_takes_the_protocol_of_the_models_source(onelook, model, shapes_folder):
    status, out, err = onelook("evaluate", model, "--data", shapes_folder)
    assert status == 0 and "protocol folder-one-shot: " in err and out


def test_evaluate_lists_its_protocols(onelook):
    status, out, _ = onelook("evaluate", "--protocol", "list")
    assert status == 0
    assert re.search(r"^omniglot-20-runs +the official 20 one-shot runs", out, re.MULTILINE)
    status, out, _ = onelook("evaluate", "--protocol", "list", "--json")
    assert "omniglot-20-runs" in json.loads(out)


@pytest.mark.parametrize("arguments", [("evaluate",), ("evaluate", "x", "-p", "y", "-q")])
def test_bad_usage_exits_2(onelook, arguments):
    status, out, err = onelook(*arguments)
    assert (status, out) == (2, "") and "Usage: onelook evaluate" in err


def test_an_unknown_protocol_lists_the_known(onelook):
    status, _, err = onelook("evaluate", "hausdorff", "--protocol", "omniglot")
    assert status == 1 and "omniglot-20-runs" in err


def test_recipes_lists_and_prints(onelook, tmp_path):
    status, out, _ = onelook("recipes")
    assert status == 0 and "\nkoch-2015: " in out and "published: 92.0%" in out
    status, out, _ = onelook("recipes", "koch-2015")
    assert status == 0 and out.startswith("# Reproduces")
    file = tmp_path / "mine.yaml"
    file.write_text(out)
    assert onelook("recipes", file) == (0, out, "")
    content = json.loads(onelook("recipes", file, "--json")[1])
    assert content == json.loads(onelook("recipes", "koch-2015", "--json")[1])
    status, out, err = onelook("recipes", "nope")
    assert (status, out) == (1, "") and err.startswith("error: no recipe 'nope'")


def test_train_writes_a_model_that_the_other_commands_take(
    onelook, shapes_folder, tmp_path
):
    changes = {
        "images.height": 16,
        "images.width": 16,
        "encoder.arguments": '{"width": 8, "embedding_size": 16}',
        "data.validation_fraction": 0.5,
        "sampling.classes_per_batch": 4,
    }
    settings = [
        word for item in changes.items() for word in ("--set", "{}={}".format(*item))
    ]
    out = tmp_path / "run"
    arguments = ("train", "class-folder-scratch", "--data", shapes_folder, "--out", out)
    status, printed, err = onelook(
        *arguments, *settings, "--epochs", 1, "--seed", 7, "--json"
    )
    assert status == 0, err
    content = json.loads(printed)
    recipe = load(out).card.recipe
    assert (recipe["epochs"], recipe["seed"], recipe["images"]["width"]) == (1, 7, 16)
    assert content["model"] == str(out) and Path(content["report"]).is_file()
    status, printed, _ = onelook("evaluate", out, "--data", shapes_folder, "--json")
    assert status == 0 and json.loads(printed)["model"] == "run"


def test_a_stopped_training_says_the_exact_command_to_go_on(onelook, monkeypatch):
    def stop(*arguments: object, **options: object) -> None:
        raise Interrupted("stopped after step 3 of 9; nothing is lost")

    monkeypatch.setattr("onelook.training.train.train", stop)
    status, _, err = onelook("train", "digits", "--out", "my runs/x", "--set", "epochs=3")
    assert status == 130 and "step 3 of 9" in err
    command = "onelook train digits --out 'my runs/x' --set epochs=3 --resume"
    assert f"go on with: {command}\n" in err
    _, _, err = onelook("train", "digits", "--resume")
    assert err.endswith("go on with: onelook train digits --resume\n")


def test_options_of_train_reach_the_library(onelook, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "onelook.training.train.train", lambda *given, **named: seen.append((given, named))
    )
    monkeypatch.setattr("builtins.print", lambda *_, **__: None)
    plain = dict(resume=False, changes={}, skip_bad=False, tracker=None, overwrite=False)
    onelook("train", "x.yaml", "--data", tmp_path, "--resume", "--skip-bad")
    onelook("train", "x.yaml", "-o", "y", "--set", "far=1e-3", "--tracker", "mlflow")
    onelook("train", "x.yaml", "--epochs", 2, "--seed", 3, "--depth", 1, "--overwrite")
    changes = {"epochs": 2, "seed": 3, "data.depth": 1}
    assert seen == [
        (("x.yaml", tmp_path, None), plain | {"resume": True, "skip_bad": True}),
        (
            ("x.yaml", None, Path("y")),
            plain | dict(changes={"far": 1e-3}, tracker="mlflow"),
        ),
        (("x.yaml", None, None), plain | {"changes": changes, "overwrite": True}),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=1e-3", 0.001),
        ("a.b=true", True),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b={name: cosine}", {"name": "cosine"}),
        ("a.b=word", "word"),
        ("a.b=x=y", "x=y"),
    ],
)
def test_a_setting_is_read_as_json_or_yaml(text, value):
    assert _setting(text) == ("a.b", value)


@pytest.mark.parametrize("text", ["epochs", "=3", "a={"])
def test_a_malformed_setting_is_bad_usage(onelook, text):
    status, _, err = onelook("train", "digits", "--set", text)
    assert status == 2 and "--set" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("encoder.name=resnet", "unknown encoder 'resnet'; known: "),
        ("loss.margin=1", "unknown key 'loss.margin'; known: arguments, name"),
        ("epochs=-1", "epochs: Input should be greater than 0, got -1"),
    ],
)
def test_a_wrong_setting_is_one_line_and_no_traceback(
    onelook, change, message, shapes_folder, tmp_path
):
    status, out, err = onelook(
        *("train", "class-folder-scratch", "--data", shapes_folder),
        *("-o", tmp_path, "--set", change),
    )
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and message in err and len(err.splitlines()) == 1


def test_verbose_shows_where_an_error_came_from(onelook):
    status, _, err = onelook("-v", "recipes", "nope")
    assert status == 1 and "Traceback" in err and err.endswith("triplet-omniglot\n")


def test_version(onelook):
    from importlib.metadata import version

    assert onelook("--version") == (0, f"onelook {version('onelook')}\n", "")


def test_export_writes_an_older_model_for_answers_without_pytorch(onelook, tmp_path):
    golden = Path(__file__).parent / "golden" / "model-cosine"
    status, out, _ = onelook("export", golden, "--out", tmp_path / "new", "--json")
    assert status == 0 and json.loads(out)["largest_difference"] < 1e-4
    old, new = load(golden), load(tmp_path / "new", runtime="onnx")
    assert new.fingerprint == old.fingerprint
    assert new.card.metrics == old.card.metrics and new.decision == old.decision
    status, out, _ = onelook("export", "--check", tmp_path / "new", "--json")
    assert status == 0 and json.loads(out)["largest_difference"] < 1e-4
    status, _, err = onelook("export", "omniglot")
    assert status == 1 and "--out FOLDER writes a copy" in err
    status, _, err = onelook("export", "omniglot", "--to", "int8")
    assert status == 1 and "needs a folder of its own: add --out FOLDER" in err


def test_a_cohort_is_stored_by_calibrate_and_taken_by_compare(
    onelook, shapes_folder, tmp_path
):
    images = sorted(str(path) for path in shapes_folder.rglob("*.png"))
    few = tmp_path / "few"
    few.mkdir()
    for i, path in enumerate(images[:5]):
        shutil.copy(path, few / f"{i}.png")
    mine = ("--model", "omniglot")
    status, _, err = onelook("compare", *images[:2], *mine, "--cohort", few)
    assert status == 1 and "a cohort needs at least 20 different images" in err

    arguments = (
        "calibrate",
        "omniglot",
        "--cohort",
        shapes_folder,
        "--out",
        tmp_path / "m",
    )
    status, printed, err = onelook(*arguments, "--json")
    assert status == 0, err
    stored = json.loads(printed)
    asked = ("compare", *images[:2], "--json", "--model")
    answers = [
        json.loads(onelook(*asked, "omniglot", "--cohort", shapes_folder)[1]),
        json.loads(onelook(*asked, tmp_path / "m")[1]),
    ]
    assert answers[0] == answers[1]
    assert answers[0]["cohort"] == stored["cohort"]
    assert answers[0]["threshold"] == stored["threshold"]
    plain = json.loads(onelook(*asked, "omniglot")[1])
    assert plain["cohort"] == "" and plain["threshold"] != stored["threshold"]


def test_one_bad_image_is_skipped_where_that_is_asked(onelook, model, three, tmp_path):
    bad, gallery = tmp_path / "bad.png", tmp_path / "g.db"
    bad.write_bytes(b"no image")
    missing = str(tmp_path / "missing.png")
    ranked = ("compare", three[0], three[1], bad, missing, "--model", model)
    status, out, err = onelook(*ranked)
    assert status == 1 and "missing.png" in err and not out
    status, out, err = onelook(*ranked, "--skip-bad")
    assert status == 0 and len(out.splitlines()) == 1 and three[1] in out
    assert f"skipped {bad}: " in err and f"skipped {missing}: no such file" in err
    status, _, err = onelook("compare", bad, three[0], "--model", model, "--skip-bad")
    assert status == 1 and "bad.png: not an image" in err and "skipped /" not in err
    assert onelook("enroll", three[0], "-g", gallery, "--model", model)[0] == 0
    asked = ("identify", bad, three[0], three[2], "-g", gallery, "--model", model, "--json")
    assert onelook(*asked)[0] == 1
    status, out, err = onelook(*asked, "--skip-bad")
    assert status == 0 and [row["path"] for row in json.loads(out)] == [three[0], three[2]]
    assert f"skipped {bad}: " in err
