"""Ship ``photos``, and measure it on things and on products.

    python benchmarks/photos.py --ship    writes src/onelook/pretrained/photos
        (then: python benchmarks/familiarity.py --ship photos)
    python benchmarks/photos.py           measures it, and heads of half of the products

The network is EfficientNet-Lite2 at 320 pixels, with the generalised mean (p = 3) over the
middle 7 x 7 of the 10 x 10 places of its last map. The decision is fitted on the things and
products at hand: each fifth of the classes is judged by what the others fitted.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.fit import fit_items
from onelook.card import CalibrationFacts, TrainingCard
from onelook.data.inputs import ImageInput
from onelook.data.items import Dataset
from onelook.data.sources import open_source
from onelook.evaluation.verification import verify_all_pairs
from onelook.loading import load
from onelook.metrics import roc_curve, wilson_interval
from onelook.models.imagenet_weights import imagenet_weights
from onelook.models.network import build_model
from onelook.recipe import HeadRecipe, ImageSettings, read_recipe
from onelook.runtime.onnx import OnnxEncoder
from onelook.runtime.scores import unit_vectors
from onelook.training.heads import fit_heads
from onelook.training.train_head import choose
from onelook.verifier import Verifier, from_model
from onelook.zoo import FOLDER
from record import Clock, record
from ship import ship

SIZE, POWER, CENTRE, FAR = 320, 3.0, 0.7, 0.01
NETWORK: dict[str, Any] = {
    "encoder": {
        "name": "efficientnet-lite2",
        "arguments": {
            "pretrained": False,
            "image_size": SIZE,
            "power": POWER,
            "centre": CENTRE,
        },
    },
    "similarity": {"name": "cosine", "arguments": {}},
}
N_FEATURES, N_TIMED = 1280, 20
N_SPLITS, N_DRAWS = 5, 10
METRICS = ("auc", "tar_at_far_0.01", "one_shot", "catalogue_one_shot")
CARD = Path(__file__).parent / "cards" / "photos.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ship", action="store_true", help="write the shipped folder")
    if parser.parse_args().ship:
        write()
    else:
        verifier = load("photos")
        measure_things(verifier)
        measure_products(verifier)


def write() -> None:
    """The model folder: a decision and a graph; the weights stay in their package."""
    verifier = untrained()
    items = both()
    # Through ONNX Runtime, which takes a quarter of the time.
    answering = OnnxEncoder(*verifier.encoder.files(verifier.examples()), N_FEATURES)
    embeddings = Verifier(answering, verifier.scores, verifier.input).embed(items.paths)
    fitted = fit_items(verifier, embeddings, embeddings, items.labels, far=FAR)
    print(fitted.decision.threshold, fitted.decision.frr, fitted.figures())
    verifier.decision = fitted.decision
    verifier.card = TrainingCard(
        name="photos",
        purpose="photographs of things: objects, pets, products",
        calibration=CalibrationFacts(data=items.name, items=len(items), **fitted.figures()),
        shipped_by="python benchmarks/photos.py --ship",
    )
    folder = ship(verifier, FOLDER / "photos", {"of_encoder": "efficientnet-lite2"})
    (folder / "README.md").write_text(CARD.read_text("utf-8"), "utf-8")
    print(f"shipped: {folder}")


def untrained() -> Verifier:
    """The network with its ImageNet weights, without a decision."""
    settings = ImageSettings(
        height=SIZE,
        width=SIZE,
        channels=3,
        fit="pad",
        resample="bicubic",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    )
    model: Any = build_model(NETWORK)  # whose settings ask for no package of weights
    model.encoder.network.load_state_dict(imagenet_weights("efficientnet-lite2"))
    return from_model(model, ImageInput(settings), network=NETWORK)


def both() -> Dataset:
    """The things and the photographs of products, as one data set."""
    things, products = open_source("things"), open_source("grocery", "photos")
    return Dataset(
        name="things and grocery",
        paths=(*things.paths, *products.paths),
        labels=np.append(things.labels, products.labels + things.n_classes),
        class_names=(*things.class_names, *products.class_names),
    )


def measure_things(verifier: Verifier) -> None:
    """All pairs, and 15-way one-shot with the first photograph of each thing."""
    clock, things = Clock(), open_source("things")
    begun = time.perf_counter()
    verifier.embed(things.paths[:N_TIMED])
    seconds = (time.perf_counter() - begun) / N_TIMED
    result = verify_all_pairs(verifier, things)
    print(result)
    embeddings = verifier.embed(things.paths)
    first = np.unique(things.labels, return_index=True)[1]
    probes = np.setdiff1d(np.arange(len(things)), first)
    best = verifier.score_matrix(embeddings[probes], embeddings[first]).argmax(1)
    right = int((things.labels[first][best] == things.labels[probes]).sum())
    tar = result.tar_at_far[FAR]
    assert tar is not None
    rows = [
        ("auc", result.auc, result.intervals.get("auc")),
        ("tar_at_far_0.01", tar, result.intervals.get("tar_at_far_0.01")),
        ("one_shot", right / len(probes), wilson_interval(right, len(probes))),
        ("seconds_an_image", seconds, None),
    ]
    for metric, value, interval in rows:
        put("photos-things", "photos", metric, value, interval, clock)


def measure_products(verifier: Verifier) -> None:
    """Five splits of the products into 20 that fit a head and 20 that are measured."""
    clock = Clock()
    photos, catalogue = (open_source("grocery", part) for part in ("photos", "catalogue"))
    seen, shown = verifier.embed(photos.paths), verifier.embed(catalogue.paths)
    recipe = read_recipe("class-folder")
    assert isinstance(recipe, HeadRecipe)
    of_none, of_head = [], []
    for split in range(N_SPLITS):
        order = np.random.default_rng(split).permutation(photos.n_classes)
        trained = np.isin(photos.labels, order[: photos.n_classes // 2])
        chosen = choose(recipe, verifier, photos.subset(trained), seen[trained], False)
        head = unit_vectors
        if chosen.shrinkage is not None:
            head = fit_heads(seen[trained], photos.labels[trained])[chosen.shrinkage]
        print(f"split {split}: shrinkage {chosen.shrinkage}", flush=True)
        rest = np.isin(catalogue.labels, photos.labels[trained], invert=True)
        for mapped, figures in ((unit_vectors, of_none), (head, of_head)):
            figures.append(
                of_products(
                    centred(mapped(seen[~trained])),
                    photos.labels[~trained],
                    centred(mapped(shown[rest])),
                    catalogue.labels[rest],
                    split,
                )
            )
    for name, figures in (("photos", of_none), ("photos and a head", of_head)):
        for metric, *values in zip(METRICS, *figures, strict=True):
            print(f"{metric}: {', '.join(f'{value:.4f}' for value in values)}")
            put("photos-grocery", name, metric, float(np.mean(values)), None, clock)


def centred(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Around the mean of their place, the shop or the catalogue, as cohorts centre."""
    return unit_vectors(embeddings - embeddings.mean(0))


def of_products(
    photos: NDArray[np.float32],
    labels: NDArray[np.int64],
    catalogue: NDArray[np.float32],
    products: NDArray[np.int64],
    seed: int,
) -> tuple[float, float, float, float]:
    """AUC and TAR of all pairs; one-shot by a photograph, and by the catalogue."""
    scores, upper = photos @ photos.T, np.triu_indices(len(photos), 1)
    is_same = (labels[:, None] == labels)[upper]
    rng, right = np.random.default_rng(seed), []
    for _ in range(N_DRAWS):
        support = np.array([rng.choice(np.flatnonzero(labels == one)) for one in products])
        probes = np.setdiff1d(np.arange(len(photos)), support)
        best = scores[np.ix_(probes, support)].argmax(1)
        right.append((products[best] == labels[probes]).mean())
    by_catalogue = (products[(photos @ catalogue.T).argmax(1)] == labels).mean()
    pairs = scores[upper].astype(np.float64)
    curve = roc_curve(pairs, is_same)
    found = curve.auc, curve.tar_at(FAR)
    return *found, float(np.mean(right)), float(by_catalogue)


def put(
    benchmark: str,
    model: str,
    metric: str,
    value: float,
    interval: tuple[float, float] | None,
    clock: Clock,
) -> None:
    print(f"{benchmark}, {model}: {metric} {value:.4f} {interval or ''}", flush=True)
    record(
        *(benchmark, model, metric, value),
        interval=interval,
        seeds=[],
        minutes=clock.minutes,
        command=shlex.join(["python", "benchmarks/photos.py", *sys.argv[1:]]),
    )


if __name__ == "__main__":
    main()
