"""A few photographs are enough: ``class-folder`` on some classes, measured on others.

    python benchmarks/class_folder.py things lfw fashion

Classes are split into those that are trained on, at most 100 images of each, and those that
are measured: pairs of them by the trained model, by the model it began with and by plain
pixels. Fashion-MNIST is read from Debian's package dataset-fashion-mnist.
"""

import argparse
import gzip
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import onelook
from onelook.data.items import Dataset
from onelook.data.reading import read_bytes
from onelook.data.sources import open_source
from onelook.data.sources.class_folders import class_folder
from onelook.evaluation.baselines import NearestPixels
from onelook.evaluation.scorer import Scorer
from onelook.evaluation.verification import verify_all_pairs
from record import Clock, record

MOST_OF_CLASS = 100
LFW_PEOPLE = 60
FASHION = Path("/usr/share/datasets/fashion-mnist")
GARMENTS = 10


@dataclass(frozen=True)
class Choice:
    """Images, how many of their classes are trained on, and how many splits there are."""

    open: Callable[[Path], Dataset]
    n_trained: int
    n_splits: int


def things(scratch: Path) -> Dataset:
    return open_source("things")


def people(scratch: Path) -> Dataset:
    """The people of LFW with the most photographs."""
    items = open_source("lfw", "folds")
    counts = np.bincount(items.labels)
    chosen = np.argsort(-counts, kind="stable")[:LFW_PEOPLE]
    return items.subset(np.isin(items.labels, chosen), "lfw")


def fashion(scratch: Path) -> Dataset:
    """The first images of each garment of the training part, written as PNG."""
    images = _idx(FASHION / "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = _idx(FASHION / "train-labels-idx1-ubyte.gz", 8)
    for garment in range(GARMENTS):
        folder = scratch / "fashion" / str(garment)
        folder.mkdir(parents=True)
        for row in np.flatnonzero(labels == garment)[:MOST_OF_CLASS]:
            Image.fromarray(images[row]).save(folder / f"{row}.png")
    return class_folder(scratch / "fashion")


def _idx(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[header:], np.uint8)


CHOICES = {
    "things": Choice(things, 10, 5),
    "lfw": Choice(people, 40, 3),
    "fashion": Choice(fashion, 7, 5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=CHOICES)
    for name in parser.parse_args().names:
        with tempfile.TemporaryDirectory() as scratch:
            measure(name, CHOICES[name], Path(scratch))


def measure(name: str, choice: Choice, scratch: Path) -> None:
    """Train and measure each split; record the means, and the means of the differences."""
    items, start, rows = choice.open(scratch), onelook.load("photos"), []
    for split in range(choice.n_splits):
        clock = Clock()
        order = np.random.default_rng(split).permutation(items.n_classes)
        trained = np.isin(items.labels, order[: choice.n_trained])
        folder = written(items.subset(trained), scratch / f"{split}")
        run = onelook.train("class-folder", data=folder, out=scratch / f"run{split}")
        minutes = clock.minutes
        rest = fewer(items.subset(~trained))
        scorers: list[Scorer] = [run.verifier, start, NearestPixels()]
        results = [verify_all_pairs(scorer, rest) for scorer in scorers]
        decision = run.verifier.decision
        assert decision is not None
        scores, is_same = results[0].scores, results[0].is_same
        far = float((scores[~is_same] >= decision.threshold).mean())
        rows.append((*(one.auc for one in results), far, decision.far, minutes))
        print(f"{name} {split}: {rows[-1]}", flush=True)
    metrics = ("auc", "auc_start", "auc_pixels", "far_measured", "far_stated", "minutes")
    for metric, *values in zip(metrics, *rows, strict=True):
        record(
            f"class-folder-{name}",
            f"photos and a head, {choice.n_trained} classes",
            metric,
            float(np.mean(values)),
            interval=None,
            seeds=[],
            values=values,
            minutes=float(np.mean([row[-1] for row in rows])),
            command=shlex.join(["python", "benchmarks/class_folder.py", *sys.argv[1:]]),
        )
        print(f"class-folder-{name} {metric}: {np.mean(values):.4f}", flush=True)


def fewer(items: Dataset) -> Dataset:
    """At most 100 images of each class, drawn at random."""
    order = np.random.default_rng(0).permutation(len(items))
    kept = [
        order[items.labels[order] == one][:MOST_OF_CLASS] for one in range(items.n_classes)
    ]
    return items.subset(np.sort(np.concatenate(kept)))


def written(items: Dataset, folder: Path) -> Path:
    """A folder CLASS/IMAGE as a user has it."""
    items = fewer(items)
    for row, address in enumerate(items.paths):
        path = (
            folder / items.class_names[items.labels[row]] / f"{row}{Path(address).suffix}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read_bytes(address))
    return folder


if __name__ == "__main__":
    main()
