"""What an export costs: difference, decisions, speed and size of each target.

python benchmarks/exports.py omniglot
python benchmarks/exports.py omniglot faces photos --images 200

Each model is exported as ``onelook export`` does, and run on 5 images of each of 20
classes, which int8 was not calibrated on: largest difference of an embedding, as a share of
its length; equal decisions on their 200 same pairs and on 800 random different ones; speed
as a ratio to ONNX Runtime in float32, in processor time of one thread, images in batches of
4, the fastest of four rounds in turns; size. ``omniglot`` is also tried on the 20 one-shot
runs of Lake et al. A target whose runtime is not installed is left out.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from onelook.data.archives import addresses_of
from onelook.data.sources import find
from onelook.deploy import Target, write_export
from onelook.deploy.targets import SUFFIXES, Run, open_file
from onelook.errors import MissingExtraError
from onelook.evaluation.protocols import evaluate
from onelook.loading import load
from onelook.machine import use_threads
from onelook.runtime.encoder import Inputs
from onelook.runtime.export import largest_difference
from onelook.verifier import Verifier
from record import Clock, record_all

DATA = {
    "omniglot": ("omniglot", "images_background.zip"),
    "faces": ("lfw", "lfw-deepfunneled.zip"),
    "photos": ("grocery", "photos"),
}
TARGETS: tuple[Target, ...] = ("onnx", "int8", "openvino", "torchscript")
N_CLASSES, EACH, N_PAIRS, STEP, ROUNDS = 20, 5, 1000, 4, 4


class Exported:
    """An exported network as an ``Encoder``."""

    def __init__(self, run: Run, embedding_size: int) -> None:
        self.run, self.embedding_size = run, embedding_size

    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        images = inputs["images"]
        parts = [self.run([images[i : i + STEP]]) for i in range(0, len(images), STEP)]
        return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+", choices=DATA)
    parser.add_argument("--images", type=int, default=200, help="to calibrate int8 on")
    arguments = parser.parse_args()
    use_threads(1)  # processor time then says how fast it is
    for model in arguments.models:
        measure(model, arguments.images)


def measure(model: str, n_images: int) -> None:
    clock, verifier = Clock(), load(model, runtime="torch")
    source, name = DATA[model]
    addresses = addresses_of([find(source) / name], verifier.input.suffixes)
    tested, rest = split(addresses)
    inputs = verifier.input.to_inputs(verifier.input.load_many(tested))
    with TemporaryDirectory() as folder:
        found: dict[Target, tuple[Exported, float]] = {}
        for target in TARGETS:
            out = Path(folder) / target
            try:
                write_export(verifier, target, out, rest[:n_images])
            except MissingExtraError as error:
                print(error)
                continue
            run = open_file(target, out / f"model{SUFFIXES[target]}")
            size = sum(f.stat().st_size for f in out.iterdir() if f.stem == "model")
            size -= (out / "model.json").stat().st_size if target == "onnx" else 0
            found[target] = Exported(run, verifier.embedding_size), size
        report(model, verifier, inputs, found, clock)


def split(addresses: list[str]) -> tuple[list[str], list[str]]:
    """Five images of each of 20 classes, class by class; and the others, in any order."""
    classes: dict[str, list[str]] = {}
    for i in np.random.default_rng(1).permutation(len(addresses)):
        classes.setdefault(addresses[i].rpartition("/")[0], []).append(addresses[i])
    large = [found for found in classes.values() if len(found) >= EACH][:N_CLASSES]
    tested = [address for found in large for address in found[:EACH]]
    rest = [address for found in classes.values() for address in found]
    used = set(tested)
    order = np.random.default_rng(2).permutation(len(rest))
    return tested, [rest[i] for i in order if rest[i] not in used]


def report(
    model: str,
    verifier: Verifier,
    inputs: Inputs,
    found: dict[Target, tuple[Exported, float]],
    clock: Clock,
) -> None:
    expected = Exported(lambda arrays: verifier.encoder({"images": arrays[0]}), 0)(inputs)
    seconds = dict.fromkeys(found, np.inf)
    for _ in range(ROUNDS):
        for target, (encoder, _) in found.items():
            seconds[target] = min(seconds[target], timed(lambda e=encoder: e(inputs)))
    print(f"{'':22}{'difference':>12}{'decisions':>11}{'speed':>8}{'size':>10}")
    for target, (encoder, size) in found.items():
        embedded = encoder(inputs)
        figures = {
            "largest_difference": largest_difference(expected, embedded),
            "decisions_equal": agreement(verifier, expected, embedded),
            "ratio_onnx": seconds["onnx"] / seconds[target],
            "size_mb": size / 1e6,
        }
        values = list(figures.values())
        print(
            f"{model + ', ' + target:22}{values[0]:12.1e}{values[1]:11.3f}"
            f"{values[2]:8.2f}{size / 1e6:7.1f} MB"
        )
        if model == "omniglot" and target in ("onnx", "int8"):
            figures["error_20_runs"] = error_of(verifier, encoder)
            print(f"  20 one-shot runs: error {figures['error_20_runs']:.4f}")
        name = f"{model}, {target}"
        record_all("exports", name, figures, seeds=[], minutes=clock.minutes)


def timed(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def agreement(
    verifier: Verifier, expected: NDArray[np.float32], embedded: NDArray[np.float32]
) -> float:
    """Share of 1,000 pairs that both decide the same."""
    decision = verifier.plain.decision
    assert decision is not None
    left, right = np.triu_indices(len(expected), 1)
    is_same = left // EACH == right // EACH
    n_same = int(is_same.sum())
    different = np.random.default_rng(3).permutation(np.flatnonzero(~is_same))
    rows = np.concatenate([np.flatnonzero(is_same), different[: N_PAIRS - n_same]])
    before = verifier.plain.score(expected[left[rows]], expected[right[rows]])
    after = verifier.plain.score(embedded[left[rows]], embedded[right[rows]])
    equal = (before >= decision.threshold) == (after >= decision.threshold)
    return float(equal.mean())


def error_of(verifier: Verifier, encoder: Exported) -> float:
    tried = Verifier(encoder, verifier.scores, verifier.input, card=verifier.card)
    found = evaluate(tried, "omniglot-20-runs").to_dict()
    return float(found["error"])


if __name__ == "__main__":
    main()
