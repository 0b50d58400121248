"""Verifier: saved and loaded, refused when damaged, the same answer through every door."""

import dataclasses
import itertools
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from onelook import verifier as verifier_module
from onelook.card import TrainingMetrics
from onelook.data.inputs import ImageInput, StrokeInput, TextInput
from onelook.decision import Decision
from onelook.errors import CheckpointError, DataError
from onelook.loading import load
from onelook.model_folder import FORMAT, write_folder
from onelook.models.network import build_model
from onelook.models.siamese import Siamese
from onelook.models.similarity import EuclideanSimilarity
from onelook.recipe import ImageSettings, SequenceSettings
from onelook.runtime.onnx import OnnxEncoder
from onelook.verifier import from_function, from_model

MODEL = {
    "encoder": {
        "name": "compact",
        "arguments": {"width": 8, "embedding_size": 8, "input_shape": [1, 16, 16]},
    },
    "right_encoder": None,
    "similarity": {"name": "euclidean", "arguments": {}},
}
DECISION = Decision(
    threshold=-0.5, reject_below=-0.8, far=0.01, prior=0.5, slope=4.0, intercept=2.6,
    n_same=100, n_different=4000, n_classes=20,
)  # fmt: skip


@pytest.fixture
def verifier():
    torch.manual_seed(0)
    settings = ImageSettings(height=16, width=16)
    return from_model(
        build_model(MODEL), ImageInput(settings), decision=DECISION, network=MODEL
    )


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for i in range(5):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def test_what_is_saved_is_loaded(verifier, images, tmp_path):
    folder = verifier.save(tmp_path / "model")
    loaded = load(folder)
    assert isinstance(loaded.encoder, OnnxEncoder)
    np.testing.assert_allclose(loaded.embed(images), verifier.embed(images), atol=1e-5)
    assert loaded.decision == DECISION and loaded.fingerprint == verifier.fingerprint
    again = load(folder, runtime="torch")
    np.testing.assert_array_equal(again.embed(images), verifier.embed(images))
    answers = [one.compare(images[0], images[1]) for one in (verifier, loaded, again)]
    assert answers[0].score == pytest.approx(answers[1].score, abs=1e-5)
    assert answers[0].score == pytest.approx(answers[2].score, abs=1e-6)


def test_a_comparison_is_the_distance_of_the_embeddings(verifier, images):
    left, right = verifier.embed(images[:2])
    answer = verifier.compare(images[0], images[1])
    distance = float(np.sqrt(((left - right) ** 2).sum()))
    assert answer.dissimilarity == pytest.approx(distance, rel=1e-4)
    assert answer.score == pytest.approx(-distance, rel=1e-4)
    assert answer.is_same == (
        True if -distance >= -0.5 else False if -distance < -0.8 else None
    )
    assert answer.probability == pytest.approx(
        1 / (1 + np.exp(4 * distance - 2.6)), rel=1e-3
    )


@pytest.mark.parametrize(
    ("score", "is_same"), [(-0.4, True), (-0.5, True), (-0.6, None), (-0.9, False)]
)
def test_between_the_thresholds_it_is_unsure(verifier, score, is_same):
    answer = verifier.judge("a", "b", score)
    assert answer.is_same is is_same
    verdict = {True: "same", None: "unsure", False: "different"}[is_same]
    assert answer.caption == f"Dissimilarity: {-score:.4f}\n{verdict}"


def test_rank_puts_the_most_alike_first(verifier, images):
    answers = verifier.rank(images[0], images)
    assert answers[0].right == images[0]
    distances = [answer.dissimilarity for answer in answers]
    assert distances == sorted(distances)


def test_scores_of_pairs_are_the_diagonal_of_the_matrix(verifier, images):
    embeddings = verifier.embed(images)
    matrix = verifier.score_matrix(embeddings, embeddings[::-1])
    pairs = verifier.score(embeddings, embeddings[::-1])
    np.testing.assert_allclose(np.diag(matrix), pairs, atol=1e-4)


def test_neither_order_nor_company_changes_an_embedding(verifier, images, monkeypatch):
    together = verifier.embed(images)
    np.testing.assert_allclose(verifier.embed(images[::-1])[::-1], together, atol=1e-5)
    for size in (1, 2, 3):
        monkeypatch.setattr(verifier_module, "BATCH_SIZE", size)
        np.testing.assert_allclose(verifier.embed(images), together, atol=1e-5)


def test_both_orders_of_two_images_have_one_answer(verifier, images):
    for left, right in itertools.combinations(images, 2):
        one, other = verifier.compare(left, right), verifier.compare(right, left)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
        assert one.verdict == other.verdict


def test_an_image_is_embedded_alike_in_every_form(verifier, images):
    with open(images[0], "rb") as file:
        data = file.read()
    picture = Image.open(images[0])
    array = np.asarray(picture)
    colours = np.dstack([array, array, array, np.full_like(array, 255)])
    forms = [data, picture, array, array[:, :, None], colours[:, :, :3], colours]
    expected = verifier.embed([images[0]])
    for form in forms:
        np.testing.assert_allclose(verifier.embed([form]), expected, atol=1e-5)
        answer = verifier.compare(form, images[1])
        assert (answer.left, answer.right) == ("image 1", images[1])
    ranked = verifier.rank(picture, [images[1], array])
    assert [answer.right for answer in ranked] == ["image 2", images[1]]
    assert verifier.compare_many([(data, array)])[0].right == "right image 1"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            np.zeros((4, 4)),
            r"^image 1: an array must be uint8 .*, got float64 of .*\(4, 4\); if its "
            r"values lie in \[0, 1\]: \(array \* 255\)\.round\(\)\.astype\(np\.uint8\)$",
        ),
        (
            np.zeros((4, 4), bool),
            r"got bool of .*; convert it: array\.astype\(np\.uint8\) \* 255$",
        ),
        (np.zeros((2, 4, 4, 3), np.uint8), r"got uint8 of shape \(2, 4, 4, 3\)$"),
        (np.zeros((4, 4, 2), np.uint8), r"got uint8 of shape \(4, 4, 2\)$"),
        (torch.zeros(4, 4), r"^image 1: expected a path, bytes, .* got Tensor$"),
        (None, r"^image 1: expected a path, bytes, .* got NoneType$"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(verifier, item, message):
    with pytest.raises(DataError, match=message):
        verifier.embed([item])


def test_embedding_many_items_shows_progress_if_asked(images, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats any stream as a terminal
    verifier = from_function(
        lambda images: np.stack([np.asarray(i.convert("RGB")).mean((0, 1)) for i in images])
    )
    items = images * 100
    quiet = verifier.embed(items)
    assert capfd.readouterr().err == ""
    verifier.shows_progress = True
    verifier.embed(items[:5])
    assert capfd.readouterr().err == ""
    np.testing.assert_array_equal(verifier.embed(items), quiet)
    assert f"{len(items)}/{len(items)}" in capfd.readouterr().err


def test_one_item_in_place_of_a_list_is_refused(verifier, images):
    for one in (images[0], b"data", Image.new("L", (4, 4)), np.zeros((4, 4), np.uint8)):
        with pytest.raises(TypeError, match="expected a list of items, got one"):
            verifier.embed(one)


def test_an_unreadable_image_is_named(verifier, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="broken.png"):
        verifier.embed([path])


@pytest.mark.parametrize("auc, warned", [(0.55, True), (0.9, False), (None, False)])
def test_a_model_hardly_better_than_chance_says_so(verifier, tmp_path, caplog, auc, warned):
    metrics = TrainingMetrics(auc=auc)
    verifier.card = verifier.card.model_copy(update={"name": "guess", "metrics": metrics})
    load(verifier.save(tmp_path / "guess"))
    message = "guess is hardly better than chance (AUC 0.55 on classes left out"
    assert [message in one for one in caplog.messages] == [True] * warned


def test_an_unknown_model_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="no model 'nothing'.*onelook train"):
        load("nothing")
    with pytest.raises(CheckpointError, match="a folder without model.json"):
        load(tmp_path)


def test_a_file_instead_of_the_folder_says_so(verifier, tmp_path):
    folder = verifier.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="name the folder that holds model.json"):
        load(folder / "model.safetensors")


def test_a_newer_format_asks_for_an_upgrade(verifier, tmp_path):
    folder = verifier.save(tmp_path / "model")
    _change(folder, format=FORMAT + 1)
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}, .*-U onelook"):
        load(folder)


def test_settings_that_are_no_model_are_refused(tmp_path):
    (tmp_path / "model.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="not a onelook model"):
        load(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path)


def test_weights_of_another_training_are_refused(verifier, tmp_path):
    folder = verifier.save(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(
        CheckpointError, match="not the file that model.json was written with"
    ):
        load(folder)


def test_weights_that_do_not_fit_the_encoder_are_refused(verifier, tmp_path):
    folder = verifier.save(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    weights[name] = torch.zeros(3)
    write_folder(folder, verifier.to_dict(), save(weights), {})
    with pytest.raises(CheckpointError, match="the weights do not fit the encoder"):
        load(folder)


def test_a_model_made_for_another_image_size_is_refused(verifier, tmp_path):
    folder = verifier.save(tmp_path / "model")
    content = verifier.to_dict()
    content["preprocess"]["height"] = 32
    write_folder(folder, content, (folder / "model.safetensors").read_bytes(), {})
    with pytest.raises(
        CheckpointError, match=r"takes images of \(1, 16, 16\).*\(1, 32, 16\)"
    ):
        load(folder)


def test_an_encoder_of_ones_own_compares_but_is_not_saved(images, tmp_path):
    model = Siamese(torch.nn.Flatten(), EuclideanSimilarity())
    verifier = from_model(model, ImageInput(ImageSettings(height=4, width=4)))
    answer = verifier.compare(images[0], images[1])
    assert answer.is_same is None and answer.dissimilarity > 0
    assert "no threshold" in str(answer)
    with pytest.raises(CheckpointError, match="network was not made from names"):
        verifier.save(tmp_path / "model")


def test_an_embedding_function_becomes_a_verifier(images):
    def mean_and_spread(pictures):
        return np.stack([[np.mean(p), np.std(p)] for p in map(np.asarray, pictures)])

    verifier = from_function(mean_and_spread, "euclidean", "grey")
    first, second = (np.asarray(Image.open(p), np.float64) for p in images[:2])
    expected = np.hypot(first.mean() - second.mean(), first.std() - second.std())
    assert verifier.compare(*images[:2]).dissimilarity == pytest.approx(expected, rel=1e-4)
    assert verifier.name == "grey"


def test_an_embedding_function_of_a_wrong_shape_is_named(images):
    verifier = from_function(lambda pictures: np.zeros(3), "cosine")
    with pytest.raises(
        ValueError, match=r"must give \(N, D\) for N images, got shape \(3,\)"
    ):
        verifier.embed(images)


def _change(folder, **values):
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**content, **values}))


def test_a_device_that_does_not_exist_is_named(verifier, tmp_path):
    folder = verifier.save(tmp_path / "model")
    with pytest.raises(ValueError, match="no device 'quantum' for PyTorch here"):
        load(folder, device="quantum")
    with pytest.raises(ValueError, match="no device 'quantum' for ONNX Runtime here"):
        load(folder, device="quantum", runtime="onnx")
    assert isinstance(load(folder, device="cpu").encoder, OnnxEncoder)


def test_texts_and_strokes_answer_through_onnx_runtime(images, tmp_path):
    texts = TextInput.fit(["a dog runs far", "a cat sat"], SequenceSettings(kind="text"))
    tokens = {"vocabulary_size": len(texts.vocabulary) + 2, "token_size": 8}
    network = {**MODEL, "encoder": {"name": "lstm", "arguments": tokens}}
    written = from_model(build_model(network), texts, network=network)
    read = load(written.save(tmp_path / "texts"), runtime="onnx")
    many = ["a dog", "", "the cat that sat far away runs"]
    np.testing.assert_allclose(read.embed(many), written.embed(many), atol=1e-6)

    strokes = StrokeInput(SequenceSettings(kind="strokes"))
    arguments = {"embedding_size": 8, "width": 8, "hidden_size": 8}
    network = {
        **MODEL,
        "right_encoder": {"name": "stroke-lstm", "arguments": arguments},
        "similarity": {"name": "weighted-l1", "arguments": {}},
    }
    pixels = ImageInput(ImageSettings(height=16, width=16))
    written = from_model(build_model(network), pixels, strokes, network=network)
    read = load(written.save(tmp_path / "pseudo"), runtime="onnx")
    assert set(read.encoder.graphs) == {"left", "right"}
    assert read.fingerprint == written.fingerprint
    left, right = read.embed(images), read.embed_loaded(strokes.example(), "right")
    expected = written.embed_loaded(strokes.example(), "right")
    np.testing.assert_allclose(right, expected, atol=1e-5)
    expected = written.score_matrix(written.embed(images), expected)
    np.testing.assert_allclose(read.score_matrix(left, right), expected, atol=1e-5)


BESIDE = dataclasses.replace(
    DECISION,
    cohorts=(
        dataclasses.replace(DECISION, threshold=0.2, kind="centred", cohort_size=20),
        dataclasses.replace(DECISION, threshold=1.5, kind="normalised", cohort_size=40),
    ),
)


@pytest.fixture
def folder_of_40(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "here"
    folder.mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_cohort_gives_other_scores_and_thresholds_and_says_so(
    verifier, images, folder_of_40
):
    verifier.decision = BESIDE
    here = verifier.with_cohort(folder_of_40)
    answer = here.compare(images[0], images[1])
    assert (answer.threshold, answer.cohort) == (1.5, "normalised by 40 images: here")
    assert "there; normalised by 40 images: here" in str(answer)
    paths = sorted(folder_of_40.iterdir())[:30]
    centred = here.with_cohort(paths, "thirty").compare(images[0], images[1])
    assert (centred.threshold, centred.cohort) == (0.2, "centred by 30 images: thirty")
    left, right = verifier.embed(images[:2]) - verifier.embed(paths).mean(0)
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    assert centred.score == pytest.approx(cosine, abs=1e-4)
    ranked = here.rank(images[0], images[1:])
    assert ranked[0].score == max(a.score for a in ranked)
    assert verifier.compare(images[0], images[1]).cohort == ""
    assert here.plain is verifier and here.fingerprint == verifier.fingerprint


def test_a_cohort_is_saved_with_the_model(verifier, images, folder_of_40, tmp_path):
    verifier.decision = BESIDE
    here = verifier.with_cohort(folder_of_40)
    folder = here.save(tmp_path / "model")
    loaded = load(folder)
    assert loaded.plain.decision == BESIDE and loaded.normalised_by == here.normalised_by
    answers = [one.compare(images[0], images[1]) for one in (here, loaded)]
    assert answers[0].score == pytest.approx(answers[1].score, abs=1e-3)
    # It holds people; the model itself may be for a service under another account.
    modes = [(folder / f"{one}.safetensors").stat().st_mode for one in ("cohort", "model")]
    assert os.name == "nt" or [one & 0o44 > 0 for one in modes] == [False, True]
    content = bytearray((folder / "cohort.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "cohort.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="cohort.safetensors is not the file"):
        load(folder)
    verifier.save(folder)
    assert not (folder / "cohort.safetensors").exists() and load(folder).cohort is None


def test_a_model_without_thresholds_beside_cohorts_says_what_to_do(verifier, folder_of_40):
    with pytest.raises(DataError, match="no thresholds beside cohorts: onelook calibrate"):
        verifier.with_cohort(folder_of_40)
    verifier.decision = None
    here = verifier.with_cohort(folder_of_40)
    assert here.normalised_by == "centred by 40 images: here"
