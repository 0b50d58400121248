"""The speed run: seconds from process start to the accuracy on Omniglot's official 20 runs.

python benchmarks/time_to_accuracy.py
python benchmarks/time_to_accuracy.py --target 0.92 --seeds 10

For each seed a child process with an empty cache reads the official zips, trains by the
recipe ``omniglot-fast`` and prints the accuracy; the clock runs in the parent, from before
the start of the child until its line has come. The length of the training is fixed for each
target (``EPOCHS``) and was chosen on held-out alphabets; nothing looks at the runs before
the end. A target is met if the mean accuracy of the seeds reaches it.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from record import machine, record

RECIPE = "omniglot-fast"
PROTOCOL = "omniglot-20-runs"
# Accuracy to reach: epochs of the recipe that were found enough on held-out alphabets.
EPOCHS = {0.92: 11, 0.955: 32}
WHOSE = {0.92: "Koch's siamese network", 0.955: "people"}


@dataclass(frozen=True)
class SpeedRun:
    """One seed: its time, how much of it went into imports, and its accuracy."""

    seed: int
    seconds: float
    import_seconds: float
    training_seconds: float
    accuracy: float


def main() -> None:
    arguments = _arguments()
    if arguments.one is not None:
        _child(arguments.one, arguments.epochs)
        return
    command = shlex.join(["python", "benchmarks/time_to_accuracy.py", *sys.argv[1:]])
    for target in [arguments.target] if arguments.target else list(EPOCHS):
        runs = []
        print(f"\n{100 * target:.1f}% ({WHOSE[target]}), {machine()}")
        print("seed   seconds   imports   training   accuracy")
        for seed in range(arguments.seeds):
            run = timed_run(seed, EPOCHS[target])
            runs.append(run)
            print(
                f"{run.seed:4d} {run.seconds:9.1f} {run.import_seconds:9.1f} "
                f"{run.training_seconds:10.1f} {100 * run.accuracy:9.2f}%",
                flush=True,
            )
        _conclude(runs, target, command)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--target", type=float, choices=list(EPOCHS), help="one target only"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def timed_run(seed: int, epochs: int) -> SpeedRun:
    """Run one child with an empty cache under the clock.

    Raises:
        RuntimeError: If the child fails; the end of its output is in the message.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "ONELOOK_CACHE": cache}
        words = [sys.executable, __file__, "--one", str(seed), "--epochs", str(epochs)]
        begun = time.perf_counter()
        child = subprocess.run(
            words, env=environment, cwd=cache, capture_output=True, text=True
        )
        seconds = time.perf_counter() - begun
    if child.returncode:
        raise RuntimeError(f"seed {seed} failed: {child.stderr.strip()[-2000:]}")
    told = json.loads(child.stdout.splitlines()[-1])
    return SpeedRun(seed=seed, seconds=seconds, **told)


def _child(seed: int, epochs: int) -> None:
    """Import, prepare, train, measure, and print one line of JSON."""
    begun = time.perf_counter()
    from onelook.evaluation.protocols import evaluate
    from onelook.recipe import override, read_recipe
    from onelook.training.loop import fit
    from onelook.training.prepare import prepare

    import_seconds = time.perf_counter() - begun
    recipe = override(read_recipe(RECIPE), {"seed": seed, "epochs": epochs})
    material = prepare(recipe, None, progress=False)
    verifier, state = fit(recipe, material, Path("run"), progress=False)
    accuracy = evaluate(verifier, PROTOCOL).accuracy
    told = {
        "import_seconds": import_seconds,
        "training_seconds": state.seconds,
        "accuracy": accuracy,
    }
    print(json.dumps(told), flush=True)


def _conclude(runs: list[SpeedRun], target: float, command: str) -> None:
    """Print whether the target is met, and record mean time and mean accuracy."""
    seconds = np.array([run.seconds for run in runs])
    accuracies = np.array([run.accuracy for run in runs])
    met = "met" if accuracies.mean() >= target else "NOT met"
    print(
        f"mean {seconds.mean():.1f} s (imports "
        f"{np.mean([run.import_seconds for run in runs]):.1f} s of it), accuracy "
        f"{100 * accuracies.mean():.2f}%, standard error "
        f"{100 * _standard_error(accuracies):.2f}: {100 * target:.1f}% {met}"
    )
    for metric, values in (("seconds", seconds), ("accuracy", accuracies)):
        reach = 1.96 * _standard_error(values)
        record(
            f"time-to-{100 * target:g}",
            RECIPE,
            metric,
            float(values.mean()),
            interval=(float(values.mean() - reach), float(values.mean() + reach)),
            seeds=[run.seed for run in runs],
            values=values.tolist(),
            minutes=float(seconds.mean()) / 60,
            command=command,
        )


def _standard_error(values: "np.ndarray") -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
