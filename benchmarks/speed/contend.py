"""One contender of the training table, in a process of its own; see ``rounds``.

python -m speed.contend NAME NETWORK FOLDER
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

from onelook.models.network import build_model
from onelook.recipe import Recipe
from onelook.training.data import TrainingData
from onelook.training.loop import Training, model_settings
from onelook.training.memory import memory_kept
from onelook.training.step import prefetched
from speed.bare import BareStep, Switches
from speed.networks import Files, material_of, plain_images, recipe_of, training_files
from speed.plain import (
    WORKERS,
    LabelledFiles,
    RandomPairs,
    in_memory,
    metric_learning_loop,
    published_loop,
)
from speed.rounds import serve

WARM_UP = {"att": 2, "lfw": 1, "compact": 8}  # steps


def main(name: str, network: str, folder: str, switches: str) -> None:
    torch.manual_seed(0)
    recipe, material = recipe_of(network), material_of(network)
    warm_up = WARM_UP[network]
    if name == "onelook":
        _serve_onelook(recipe, material, warm_up)
    elif name == "limit":
        with memory_kept():
            bare = BareStep(recipe, material)
            serve(bare.use(Switches(**json.loads(switches))), warm_up)
    else:
        files = training_files(material, Path(folder))
        _serve_plain(name, recipe, material, files, warm_up)


def _serve_onelook(recipe: Recipe, material: TrainingData, warm_up: int) -> None:
    """The loop of ``fit`` without its metrics log and its validations."""
    with tempfile.TemporaryDirectory() as out, memory_kept():
        device = torch.device("cpu")
        training = Training(recipe, material, Path(out), lambda values, step: None, device)
        with prefetched(
            material, recipe.data.rotations, 0, training.n_steps, training.device
        ) as batches:

            def step() -> int:
                raw = next(batches)
                training.step(raw)
                return len(raw.batch.items)

            serve(step, warm_up)


def _serve_plain(
    name: str, recipe: Recipe, material: TrainingData, files: Files, warm_up: int
) -> None:
    encoder = build_model(model_settings(recipe, material)).encoder
    images, n_images = plain_images(recipe), len(material.sampler.batch(0).items)
    if name == "published":
        pairs = RandomPairs(files.paths, files.labels, images)
        serve(published_loop(encoder, pairs, n_images // 2), warm_up)
        return
    data = LabelledFiles(files.paths, files.labels, images)
    decoded = name == "library-decoded"
    step = metric_learning_loop(
        encoder,
        in_memory(data) if decoded else data,
        files.labels,
        n_images,
        supervised_contrastive=recipe.loss.name == "supervised-contrastive",
        # The images lie there: to send them between processes costs more than to take them.
        workers=0 if decoded else WORKERS,
    )
    serve(step, warm_up)


if __name__ == "__main__":
    main(*sys.argv[1:])
