"""Trainings that begin with the weights of another one."""

import pytest
import torch

from onelook.errors import CheckpointError
from onelook.loading import load
from onelook.models.network import build_model
from onelook.recipe import override
from onelook.training.loop import model_settings
from onelook.training.prepare import prepare
from onelook.training.start import start_from
from onelook.training.train import train


@pytest.fixture(scope="module")
def trained(shapes_folder, shapes_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    return train(override(shapes_recipe, {"epochs": 4}), shapes_folder, out, progress=False)


def fresh_model(recipe, folder):
    return build_model(model_settings(recipe, prepare(recipe, folder, progress=False)))


def test_the_encoder_gets_the_weights_and_their_fingerprint(
    trained, shapes_folder, shapes_recipe
):
    model = fresh_model(shapes_recipe, shapes_folder)
    images = torch.rand(3, 1, 16, 16)
    assert start_from(str(trained.out), model) == load(trained.out).fingerprint
    expected = load(trained.out, runtime="torch").model.encode(images)
    torch.testing.assert_close(model.eval().encode(images), expected)


def test_a_training_begins_where_the_other_one_ended_and_says_so(
    trained, shapes_folder, shapes_recipe, tmp_path
):
    hardly = {"epochs": 1, "optimizer.learning_rate": 1e-9, "start": str(trained.out)}
    run = train(shapes_recipe, shapes_folder, tmp_path, changes=hardly, progress=False)
    before, after = (load(folder, runtime="torch") for folder in (trained.out, run.out))
    for name, weight in before.model.named_parameters():
        torch.testing.assert_close(after.model.get_parameter(name), weight)
    assert after.card.start.fingerprint == before.fingerprint
    assert before.card.start is None


def test_images_of_another_size_may_follow(trained, shapes_folder, shapes_recipe):
    larger = override(shapes_recipe, {"images.height": 24, "images.width": 24})
    model = fresh_model(larger, shapes_folder)
    start_from(str(trained.out), model)
    assert model.encode(torch.rand(2, 1, 24, 24)).shape == (2, 16)


def test_an_encoder_of_other_sizes_is_refused(trained, shapes_folder, shapes_recipe):
    wider = override(shapes_recipe, {"encoder.arguments.width": 12})
    with pytest.raises(CheckpointError, match=r"does not fit.*stem.*'width': 8"):
        start_from(str(trained.out), fresh_model(wider, shapes_folder))


def test_an_encoder_of_another_kind_is_refused(trained):
    encoder = {"name": "att", "arguments": {}}
    settings = {"encoder": encoder, "similarity": {"name": "euclidean", "arguments": {}}}
    with pytest.raises(CheckpointError, match="is a CompactEncoder.*is a AttEncoder"):
        start_from(str(trained.out), build_model(settings))


def test_weights_that_are_not_there_are_refused(shapes_folder, shapes_recipe, tmp_path):
    changes = {"start": str(tmp_path / "nowhere")}
    with pytest.raises(CheckpointError, match="no model"):
        train(shapes_recipe, shapes_folder, tmp_path / "out", changes=changes)


def test_a_started_training_resumes_but_not_with_another_start(
    trained, shapes_folder, shapes_recipe, tmp_path
):
    short = override(shapes_recipe, {"epochs": 2, "start": str(trained.out)})
    whole = train(short, shapes_folder, tmp_path / "whole", progress=False)
    again = train(short, shapes_folder, whole.out, resume=True, progress=False)
    assert again.verifier.fingerprint == whole.verifier.fingerprint
    elsewhere = override(short, {"start": str(whole.out)})
    with pytest.raises(CheckpointError, match="of another recipe"):
        train(elsewhere, shapes_folder, whole.out, resume=True, progress=False)
