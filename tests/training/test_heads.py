"""Heads: the whitening beside a plain formula, what a pair's head may not see, training."""

import numpy as np
import pytest

import onelook
from onelook.data.items import Dataset
from onelook.errors import DataError
from onelook.loading import load
from onelook.recipe import HeadRecipe, override, read_recipe
from onelook.runtime.scores import unit_vectors
from onelook.training.heads import (
    SHRINKAGES,
    cross_fit,
    fit_heads,
    halves,
    spread,
    usable,
)
from onelook.training.train_head import choose
from onelook.verifier import from_function


def points(n_classes=9, n_each=6, size=8, noise=None, seed=0):
    """Embeddings around the centre of each class, which vary most in the first half."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), n_each)
    noise = np.ones(size) if noise is None else noise
    centres = rng.normal(size=(n_classes, size))
    drawn = centres[labels] + noise * rng.normal(size=(len(labels), size))
    return drawn.astype(np.float32), labels


def cosine(left, right):
    return unit_vectors(left) @ unit_vectors(right).T


@pytest.mark.parametrize("size", [8, 90])  # fewer dimensions than images, and more
def test_a_head_is_the_inverse_root_of_the_variance_within_classes(size):
    embeddings, labels = points(size=size)
    at = unit_vectors(embeddings).astype(np.float64)
    centres = np.stack([at[labels == one].mean(0) for one in range(9)])
    within = at - centres[labels]
    variance = within.T @ within / len(within)
    for shrinkage, head in fit_heads(embeddings, labels).items():
        added = shrinkage * np.trace(variance) / size * np.eye(size)
        values, vectors = np.linalg.eigh(variance + added)
        root = (vectors / np.sqrt(values)) @ vectors.T
        mapped = (at - centres.mean(0)) @ root
        np.testing.assert_allclose(
            cosine(head(embeddings), head(embeddings)), cosine(mapped, mapped), atol=1e-4
        )


def test_a_pair_is_scored_by_a_head_that_saw_neither_class():
    embeddings, labels = points(n_classes=6)
    found = cross_fit(embeddings, labels, seed=0, progress=False)
    for a, b in ((0, 1), (2, 2), (5, 3)):
        rest = ~np.isin(labels, (a, b))
        for shrinkage, head in fit_heads(embeddings[rest], labels[rest]).items():
            expected = cosine(head(embeddings[labels == a]), head(embeddings[labels == b]))
            block = found[shrinkage][np.ix_(labels == a, labels == b)]
            np.testing.assert_allclose(block, expected, atol=1e-5)


def test_each_half_is_mapped_by_the_head_of_the_other():
    embeddings, labels = points()
    mapped, half = halves(embeddings, labels, 3.0, seed=0)
    assert all(len(set(half[labels == one])) == 1 for one in range(9))
    head = fit_heads(embeddings[half == 1], labels[half == 1])[3.0]
    np.testing.assert_array_equal(mapped[half == 0], head(embeddings[half == 0]))


def test_rows_are_spread_evenly():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    kept = spread(labels, 23)
    assert np.bincount(labels[kept]).tolist() == [10, 3, 10]
    assert spread(labels, 100).tolist() == list(range(73))


def test_too_few_classes_are_counted():
    items = Dataset("mugs", ("a", "b", "c"), np.array([0, 0, 1]), ("x", "y"))
    assert "mugs has 1 classes with two images or more" in usable(items, 5)
    assert usable(items, 1) == ""


def chosen(embeddings, labels, tmp_path):
    """What is chosen for embeddings of blank pictures."""
    from PIL import Image

    path = tmp_path / "blank.png"
    Image.new("L", (4, 4), 255).save(path)
    names = tuple(map(str, range(int(labels.max()) + 1)))
    items = Dataset("points", (str(path),) * len(labels), labels, names)
    recipe = read_recipe("class-folder")
    start = from_function(lambda images: np.zeros((len(images), 2)), name="start")
    return choose(recipe, start, items, embeddings, progress=False)


def test_a_head_is_chosen_where_classes_left_out_gain_by_it(tmp_path):
    noise = np.where(np.arange(16) < 6, 3.0, 0.3)
    embeddings, labels = points(20, 8, 16, noise)
    found = chosen(embeddings, labels, tmp_path)
    assert found.shrinkage in SHRINKAGES
    with_head, without, pixels = found.compared.values()
    assert with_head > without + 0.05 and pixels == 0.5
    assert found.fitted.decision.n_classes == 20 and found.fitted.decision.identify


def test_no_head_is_chosen_where_there_is_nothing_to_gain(tmp_path):
    embeddings, labels = points(20, 8, 16, np.full(16, 0.05))
    assert chosen(embeddings, labels, tmp_path).shrinkage is None


@pytest.fixture(scope="module")
def recipe():
    return override(read_recipe("class-folder"), {"start": "omniglot", "far": 0.05})


@pytest.fixture(scope="module")
def run(recipe, shapes_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "shapes"
    return onelook.train(recipe, shapes_folder, out, progress=False)


def test_a_trained_model_answers_as_its_parts_do(run, shapes_folder):
    files = [shapes_folder / f"shape{i:02d}" / "0.png" for i in range(3)]
    answering, network = load(run.out), load(run.out, runtime="torch")
    assert answering.decision == run.verifier.decision and answering.decision is not None
    mapped = answering.embed(files)
    np.testing.assert_allclose(network.embed(files), mapped, atol=1e-4)
    if run.verifier.card.data["head"] != "none":
        start = network.model.encoder.encoder
        assert type(start).__name__ == "CompactEncoder"
        weight = network.model.encoder.head.weight.detach().numpy()
        bias = network.model.encoder.head.bias.detach().numpy()
        plain = unit_vectors(load("omniglot").embed(files)) @ weight.T + bias
        np.testing.assert_allclose(mapped, plain, atol=1e-4)


def test_a_training_says_how_it_compares(run):
    metrics = run.verifier.card.metrics
    assert list(metrics.compared) == [
        "AUC on classes left out",
        "AUC of omniglot without a head",
        "AUC of plain pixels",
    ]
    assert metrics.auc > 0.9 and metrics.compared["AUC of plain pixels"] > 0.5
    text = str(run)
    assert "AUC of plain pixels" in text and "best epoch" not in text
    assert run.report.read_text().count("AUC of plain pixels")


def test_a_training_there_is_not_replaced_unasked(run, recipe, shapes_folder):
    with pytest.raises(DataError, match="holds a training already"):
        onelook.train(recipe, shapes_folder, run.out, progress=False)


def test_too_few_classes_are_refused_before_anything_is_loaded(shapes_folder, tmp_path):
    for i in range(4):
        folder = tmp_path / "four" / str(i)
        folder.mkdir(parents=True)
        for name in ("0.png", "1.png"):
            (folder / name).write_bytes(
                (shapes_folder / f"shape{i:02d}" / name).read_bytes()
            )
    recipe = override(read_recipe("class-folder"), {"start": "no-such-model"})
    assert isinstance(recipe, HeadRecipe)
    with pytest.raises(DataError, match="four has 4 classes .* needs 5 of them"):
        onelook.train(recipe, tmp_path / "four", tmp_path / "out", progress=False)


def test_a_network_of_ones_own_has_no_place_in_a_head(shapes_folder, tmp_path):
    from torch import nn

    with pytest.raises(DataError, match="take class-folder-scratch"):
        onelook.train("class-folder", shapes_folder, tmp_path, encoder=nn.Flatten())
