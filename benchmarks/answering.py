"""Answering without PyTorch: cold commands, and ONNX Runtime beside eager PyTorch.

    python benchmarks/answering.py            prints the figures
    python benchmarks/answering.py --record   also writes them into results.json

A command runs cold, in a process of its own, and costs its user and system seconds. Rates
are those of the networks alone, on prepared inputs: both runtimes take turns in one
process, at 1 and at 2 threads.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

import onelook
from onelook.data.reading import read_bytes
from onelook.data.sources import open_source
from record import record

MODELS = ("omniglot", "faces", "dlib-faces")
BATCHES = (1, 32, 256)
THREADS = (1, 2)
ROUNDS = 5
SECONDS = 0.6  # that one turn of a runtime takes, about
TOLERANCE = 1e-4  # of the length of an embedding
N_PAIRS = 1000


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of a command in a new process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "onelook", *command], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cold_commands(folder: Path) -> dict[str, list[str]]:
    """Commands by the name of their benchmark, on drawings put into ``folder``."""
    drawings = open_source("omniglot", "evaluation")
    verifier = onelook.load("omniglot")
    paths = []
    for i in (0, 20, 40):
        path = folder / f"{i}.png"
        path.write_bytes(read_bytes(drawings.paths[i]))
        paths.append(str(path))
    gallery = str(folder / "gallery.db")
    with onelook.Gallery(verifier, gallery) as opened:
        opened.enroll("first", [paths[0]])
        opened.enroll("second", [paths[1]])
    return {
        "cold-compare": ["compare", paths[0], paths[1]],
        "cold-identify": ["identify", paths[2], "--gallery", gallery],
        "cold-missing": ["compare", "nosuch.png", "x.png"],
        "cold-help": ["--help"],
    }


def rate(call: Callable[[], object], n_images: int) -> float:
    """Images a second, over about ``SECONDS``."""
    begun, n_calls = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        call()
        n_calls += 1
    return n_calls * n_images / (time.perf_counter() - begun)


def measure_rates(name: str) -> list[tuple[int, float, float]]:
    """(batch, images/s of ONNX Runtime, of PyTorch) in this process's number of threads."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    runtimes = {r: onelook.load(name, runtime=r) for r in ("onnx", "torch")}
    shape = runtimes["onnx"].input.input_shape
    images = np.random.default_rng(0).random((max(BATCHES), *shape), np.float32)
    rows = []
    for batch in BATCHES:
        inputs = {"images": images[:batch]}
        calls = {r: partial(v.encoder, inputs) for r, v in runtimes.items()}
        for call in calls.values():
            call()
        rates = {r: [] for r in calls}
        for _ in range(ROUNDS):
            for r, call in calls.items():
                rates[r].append(rate(call, batch))
        rows.append((batch, median(rates["onnx"]), median(rates["torch"])))
    return rows


def largest_difference(name: str) -> tuple[float, float]:
    """The largest difference of an embedding as a share of its length, and the share of
    ``N_PAIRS`` decisions that agree."""
    source, part = ("omniglot", "evaluation") if name == "omniglot" else ("lfw", "DevTest")
    paths = open_source(source, part).paths[:120]
    left, right = np.random.default_rng(0).integers(0, len(paths), (2, N_PAIRS))
    embeddings, verdicts = [], []
    for runtime in ("onnx", "torch"):
        verifier = onelook.load(name, runtime=runtime)
        rows = verifier.embed(paths)
        scores = verifier.score(rows[left], rows[right])
        embeddings.append(rows)
        verdicts.append([verifier.judge("a", "b", float(s)).verdict for s in scores])
    a, b = embeddings
    difference = np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
    agreement = np.mean([x == y for x, y in zip(*verdicts, strict=True)])
    return float(difference.max()), float(agreement)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--rates", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rates:
        for batch, onnx, torch_rate in measure_rates(options.rates):
            print(batch, onnx, torch_rate)
        return
    rows: list[tuple[str, str, str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for benchmark, command in cold_commands(Path(folder)).items():
            cpu_seconds(command)
            seconds = median(cpu_seconds(command) for _ in range(ROUNDS))
            print(f"{benchmark:14} {seconds:6.2f} CPU seconds")
            rows.append((benchmark, "omniglot", "cpu_seconds", seconds))
    for name in MODELS:
        difference, agreement = largest_difference(name)
        print(
            f"{name}: largest difference {difference:.1e}, decisions agree {agreement:.4f}"
        )
        rows.append(("export", name, "largest_difference", difference))
        rows.append(("export", name, "decisions_agree", agreement))
        for threads in THREADS:
            printed = subprocess.run(
                [sys.executable, __file__, "--rates", name],
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for line in printed.splitlines():
                batch, onnx, torch_rate = map(float, line.split())
                print(
                    f"  {threads} threads, batch {batch:3.0f}: ONNX Runtime {onnx:8.0f}, "
                    f"PyTorch {torch_rate:8.0f} images/s, ratio {onnx / torch_rate:.2f}"
                )
                metric = f"ratio_torch_{threads}_threads_batch_{batch:.0f}"
                rows.append(("export", name, metric, onnx / torch_rate))
    if options.record:
        for benchmark, model, metric, value in rows:
            record(
                benchmark,
                model,
                metric,
                value,
                interval=None,
                seeds=[],
                minutes=0.0,
                command="python benchmarks/answering.py --record",
            )


if __name__ == "__main__":
    main()
