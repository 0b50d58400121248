"""From recipes to what is trained on: what is held out, pairs, identities, tables."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from onelook.data.items import Dataset
from onelook.data.sources.class_folders import class_folder
from onelook.errors import DataError, TrainingError
from onelook.evaluation.protocols import evaluate
from onelook.loading import load
from onelook.recipe import override, parse_recipe, read_recipe
from onelook.training.prepare import _classes_per_batch, prepare
from onelook.training.train import train


@pytest.fixture
def pair_folder(shapes_folder, tmp_path):
    """The drawn shapes with a pair file: neighbours in a class, and across classes."""
    dataset = class_folder(shapes_folder)
    lines = ["# same=0"]
    for i in range(len(dataset) - 1):
        same = dataset.labels[i] == dataset.labels[i + 1]
        lines.append(f"{dataset.paths[i]}\t{dataset.paths[i + 1]}\t{0 if same else 1}")
        far = (i + len(dataset) // 2) % len(dataset)
        lines.append(f"{dataset.paths[i]}\t{dataset.paths[far]}\t1")
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    return tmp_path


def pairs_recipe(shapes_recipe, **changes):
    return override(
        shapes_recipe,
        {
            "data": {"source": "pairs", "validation_fraction": 0.3},
            "sampling": {"name": "pair-list", "batch_size": 32},
            "loss": {"name": "contrastive", "arguments": {"margin": 1.0}},
            "similarity": {"name": "euclidean"},
            "epochs": 2,
            **changes,
        },
    )


def test_files_joined_by_same_pairs_are_one_identity(pair_folder, shapes_recipe):
    material = prepare(pairs_recipe(shapes_recipe), pair_folder, progress=False)
    classes = [Path(address).parent.name for address in material.held_out.addresses]
    by_identity = {}
    for label, name in zip(material.held_out.labels, classes, strict=True):
        by_identity.setdefault(int(label), set()).add(name)
    assert all(len(names) == 1 for names in by_identity.values())
    assert len(by_identity) == len(set(classes)) == round(0.3 * 24)


def test_no_training_pair_touches_a_held_out_identity(pair_folder, shapes_recipe):
    material = prepare(pairs_recipe(shapes_recipe), pair_folder, progress=False)
    held = set(material.held_out.addresses)
    store = material.left.store
    for step in range(material.sampler.steps_per_epoch):
        batch = material.sampler.batch(step)
        rows = material.left.rows[batch.items]
        assert held.isdisjoint(store.addresses[row] for row in rows)
        same = [Path(store.addresses[row]).parent for row in rows]
        found = [same[a] == same[b] for a, b in zip(batch.left, batch.right, strict=True)]
        assert found == batch.is_same.tolist()


def test_a_pair_list_trains_to_a_model(pair_folder, shapes_recipe, tmp_path):
    for twins in ("together", "apart"):
        recipe = pairs_recipe(shapes_recipe, twins=twins)
        run = train(recipe, pair_folder, tmp_path / twins, progress=False)
        assert 0 <= run.best_figure <= 1
        assert load(run.out).fingerprint == run.verifier.fingerprint


def test_words_are_compared_with_words(tmp_path):
    """Misspelt names: a character LSTM learns from a CSV of text pairs."""
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(60)]
    rows = ["left,right,label"]
    for i, name in enumerate(names):
        for _ in range(3):
            at = int(rng.integers(6))
            rows.append(f"{name},{name[:at] + 'x' + name[at + 1 :]},same")
            rows.append(f"{name},{names[(i + 1 + int(rng.integers(58))) % 60]},different")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    recipe = parse_recipe(
        {
            "name": "words",
            "data": {
                "source": "pair-table",
                "left_side": "text",
                "right_side": "text",
                "validation_fraction": 0.3,
            },
            "left": {"kind": "text", "unit": "character", "max_length": 12},
            "encoder": {"name": "lstm", "arguments": {"token_size": 16, "hidden_size": 24}},
            "similarity": {"name": "cosine"},
            "loss": {"name": "regression", "arguments": {"minimum": 0.0, "maximum": 1.0}},
            "sampling": {"name": "pair-list", "batch_size": 32},
            "optimizer": {"learning_rate": 0.01},
            "validation": {"figure": "verification"},
            "epochs": 12,
        },
        "words",
    )
    run = train(recipe, tmp_path, tmp_path / "run", progress=False)
    assert run.best_figure > 0.8  # chance is 0.5
    assert load(run.out).compare("abcdef", "abcdef").dissimilarity == pytest.approx(
        0, abs=1e-5
    )


def test_images_are_compared_with_texts_by_two_encoders(
    shapes_folder, shapes_recipe, tmp_path
):
    dataset = class_folder(shapes_folder)
    rows = ["left,right,label"]
    for path, label in zip(dataset.paths, dataset.labels, strict=True):
        name, other = dataset.class_names[label], dataset.class_names[(label + 7) % 24]
        rows += [f"{path},{name},same", f"{path},{other},different"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    content = shapes_recipe.model_dump()
    content.update(
        name="captions",
        data={"source": "pair-table", "right_side": "text", "validation_fraction": 0.2},
        right={"kind": "text", "unit": "word", "max_length": 4},
        right_encoder={"name": "lstm", "arguments": {"hidden_size": 16}},
        similarity={"name": "euclidean"},
        loss={"name": "contrastive", "arguments": {"margin": 1.0}},
        sampling={"name": "pair-list", "batch_size": 32},
        validation={"figure": "verification"},
        epochs=25,
    )
    run = train(
        parse_recipe(content, "captions"), tmp_path, tmp_path / "run", progress=False
    )
    assert run.best_figure > 0.7
    answer = load(run.out).compare(dataset.paths[0], dataset.class_names[0])
    again = run.verifier.compare(answer.left, answer.right)
    assert answer.dissimilarity == pytest.approx(again.dissimilarity)


def test_sides_of_two_kinds_need_two_encoders(tmp_path, shapes_recipe):
    (tmp_path / "pairs.csv").write_text("left,right,label\na,b,same\nc,d,different\n")
    content = shapes_recipe.model_dump()
    content["data"] = {"source": "pair-table", "left_side": "text", "right_side": "path"}
    with pytest.raises(DataError, match="not there|no file|right_encoder"):
        prepare(parse_recipe(content, "mixed"), tmp_path, progress=False)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "changes", "items", "classes"),
    [
        pytest.param("omniglot-compact", {}, 19_280, 964, marks=pytest.mark.slow),
        ("att-contrastive", {}, 370, 37),
        ("att-contrastive", {"data.part": "not-fold3"}, 350, 35),
        ("strokes-pseudo", {}, None, None),
        ("digits", {}, None, 7),
    ],
)
def test_recipes_find_their_training_data(data_root, name, changes, items, classes):
    material = prepare(override(read_recipe(name), changes), progress=False)
    about = material.about
    if items is not None:
        assert about["training images"] + about["held-out images"] == items
    if classes is not None:
        assert about["training classes"] + about["held-out classes"] == classes
    batch = material.sampler.batch(0)
    assert len(batch.items) and batch.items.max() < material.n_items * 4


@pytest.mark.data
def test_sick_trains_on_train_and_holds_out_trial(data_root):
    material = prepare(read_recipe("sick-malstm"), progress=False)
    assert material.about["training pairs"] == 4500
    assert material.about["held-out pairs"] == 500


def test_the_recipes_of_the_page_on_pairs_are_valid():
    page = (Path(__file__).parents[2] / "docs" / "pairs.md").read_text("utf-8")
    blocks = page.split("```yaml\n")[1:]
    names = [parse_recipe(yaml.safe_load(b.split("```")[0]), "page").name for b in blocks]
    assert names == ["mine", "names", "captions"]


def test_few_classes_make_a_smaller_batch(shapes_folder, shapes_recipe, caplog):
    recipe = override(shapes_recipe, {"sampling.classes_per_batch": 100})
    with caplog.at_level("INFO"):
        material = prepare(recipe, shapes_folder, progress=False)
    assert len(set(material.sampler.batch(0).labels)) == 12
    assert "so a batch holds 12 classes, not 100" in caplog.text


@pytest.mark.parametrize(
    ("n_images", "n_enough", "n_classes"), [([6], 1, 1), ([1, 1, 1], 0, 3), ([1, 4], 1, 2)]
)
def test_too_few_classes_are_refused_with_what_is_missing(
    shapes_recipe, n_images, n_enough, n_classes
):
    labels = np.repeat(np.arange(len(n_images)), n_images)
    names = tuple(f"class {i}" for i in range(len(n_images)))
    few = Dataset("few", tuple(f"{i}.png" for i in range(len(labels))), labels, names)
    message = f"2 classes .* at least 2 images.* few: {n_enough} of {n_classes} classes"
    with pytest.raises(DataError, match=message):
        _classes_per_batch(few, shapes_recipe.sampling, rotations=1)


def test_a_training_that_diverges_says_so_and_what_to_lower(
    shapes_folder, shapes_recipe, tmp_path
):
    far = override(shapes_recipe, {"optimizer.learning_rate": 1e30, "epochs": 1})
    with pytest.raises(TrainingError, match="learning.rate"):
        train(far, shapes_folder, out=tmp_path / "far", progress=False)


def test_a_training_is_not_overwritten_by_accident(shapes_folder, shapes_recipe, tmp_path):
    recipe = override(shapes_recipe, {"epochs": 1})
    train(recipe, shapes_folder, tmp_path, progress=False)
    with pytest.raises(DataError, match="holds a training already: --resume"):
        train(recipe, shapes_folder, tmp_path, progress=False)
    train(recipe, shapes_folder, tmp_path, progress=False, overwrite=True)


def test_a_table_is_measured_as_it_was_trained(tmp_path):
    rows = ["a,b,score"]
    for i in range(90):
        left, right = i % 9, (i * 7) % 9
        rows.append(f"word{left},word{right},{float(left == right)}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    content = {
        "name": "graded",
        "data": {
            "source": "pair-table",
            "left_column": "a",
            "right_column": "b",
            "label_column": "score",
            "label": "target",
            "left_side": "text",
            "right_side": "text",
        },
        "left": {"kind": "text", "unit": "character", "max_length": 8},
        "encoder": {"name": "lstm", "arguments": {"token_size": 8, "hidden_size": 8}},
        "similarity": {"name": "exponential"},
        "loss": {"name": "regression", "arguments": {"minimum": 0.0, "maximum": 1.0}},
        "sampling": {"name": "pair-list", "batch_size": 32},
        "validation": {"figure": "pearson"},
        "epochs": 2,
    }
    run = train(parse_recipe(content, "graded"), tmp_path, tmp_path / "run", progress=False)
    result = evaluate(run.verifier, "pairs", tmp_path / "pairs.csv")
    assert result.n_pairs == 90
