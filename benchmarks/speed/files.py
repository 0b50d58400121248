"""Embedding files from disk, images/s: Verifier.embed beside Pillow and a plain loop.

Decoding and the network share the cores, so the limit is 1 / (1 / decode + 1 / forward),
each measured alone on the same files.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from onelook.data.inputs import ImageInput
from onelook.data.inputs.stores import PixelStore
from onelook.models.network import build_model
from onelook.training.loop import model_settings
from onelook.verifier import BATCH_SIZE, from_model
from speed.networks import (
    MODELS,
    TITLES,
    material_of,
    plain_images,
    recipe_of,
    training_files,
)
from speed.plain import decode
from speed.rounds import ratio
from speed.table import Row, print_table

N_FILES = {"att": 256, "lfw": 256, "compact": 2048}
ROUNDS = {"att": 5, "lfw": 2, "compact": 5}
REACH = 0.9  # of the limit
NAMES = {
    "one by one": "Pillow and a loop, one by one",
    "batched": f"Pillow and a loop, batches of {BATCH_SIZE}",
    "onelook": "onelook: Verifier.embed",
    "decode": "decoding alone: ImageInput.load_many",
    "forward": "network alone, pixels in memory",
}


def measure(network: str, folder: Path) -> list[Row]:
    """Measure in turns on the same files; print the table of one network."""
    recipe, material = recipe_of(network), material_of(network)
    images = plain_images(recipe)
    preprocess = ImageInput(images)
    paths = training_files(material, folder).paths[: N_FILES[network]]
    model = build_model(model_settings(recipe, material)).eval()
    verifier = from_model(model, preprocess)
    store = PixelStore(preprocess.load_many(paths), paths)

    @torch.no_grad()
    def plain_loop(batch_size: int) -> list[np.ndarray]:
        vectors = []
        for start in range(0, len(paths), batch_size):
            batch = [decode(path, images) for path in paths[start : start + batch_size]]
            vectors.append(model.encoder(torch.stack(batch)).numpy())
        return vectors

    jobs: dict[str, Callable[[], object]] = {
        "one by one": lambda: plain_loop(1),
        "batched": lambda: plain_loop(BATCH_SIZE),
        "onelook": lambda: verifier.embed(paths),
        "decode": lambda: preprocess.load_many(paths),
        "forward": lambda: verifier.embed_store(store, np.arange(len(paths))),
    }
    jobs["onelook"]()  # starts threads, fills the page cache
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS[network]):
        for name, job in jobs.items():
            begun = perf_counter()
            job()
            rates[name].append(len(paths) / (perf_counter() - begun))
    return report(network, rates)


def report(network: str, rates: dict[str, list[float]]) -> list[Row]:
    """The table, and what of it goes into results.json."""
    both = zip(rates["decode"], rates["forward"], strict=True)
    rates = {**rates, "limit": [one_after_the_other(a, b) for a, b in both]}
    share = ratio(rates, "onelook", "limit")
    lines = []
    for name, words in {**NAMES, "limit": "limit: one after the other"}.items():
        aim = f">= {REACH}: {'yes' if share >= REACH else 'NO'}" if name == "limit" else ""
        times = f"{ratio(rates, 'onelook', name):.2f} x"
        lines.append([words, f"{median(rates[name]):,.1f}", times, aim])
    print_table(
        f"Embedding files: {TITLES[network]}",
        ["", "images/s", "onelook is", "reach"],
        lines,
    )
    figures = {
        "images_per_second": median(rates["onelook"]),
        "ratio_one_by_one": ratio(rates, "onelook", "one by one"),
        "ratio_batched": ratio(rates, "onelook", "batched"),
        "ratio_limit": share,
    }
    return [Row("embed-throughput", MODELS[network], *figure) for figure in figures.items()]


def one_after_the_other(first: float, second: float) -> float:
    """The rate of two jobs that share the cores.

    >>> one_after_the_other(300.0, 600.0)
    200.0
    """
    return 1 / (1 / first + 1 / second)
