"""LFW View 2, unrestricted, no outside data: every fold by a network that never saw it.

python benchmarks/lfw_view2.py

Ten trainings from scratch would each learn most of the same people again. So five folds
share the first part of their training, on the people of the other five folds; two or three
of them share the second, on people outside all of these; only the last part is a fold's
own, on the nine others. No network was ever trained on a person of the fold it is tested
on. Some people of every fold are held out of all trainings; they choose the thresholds.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from onelook.data.sources import find, lfw
from onelook.evaluation.pairing import draw_pairs
from onelook.evaluation.scorer import Scorer, score_pairs
from onelook.evaluation.verification import VerificationResult, score_folds
from onelook.loading import load
from onelook.metrics import Interval, best_threshold
from onelook.recipe import override, read_recipe
from onelook.training.train import train
from recipes import setting
from record import Clock, record
from views import mirrored

BENCHMARK = "lfw-view2-unrestricted"
THRESHOLD_PAIRS = 20_000
Folds = tuple[int, ...]


class Level(NamedTuple):
    """Trainings that start from those of the level before."""

    left_out: tuple[Folds, ...]  # the folds that each training must not see
    changes: dict[str, Any]  # of the recipe


# A training that goes on from a good network must not shake it as one from nothing may.
GENTLER = {"optimizer.learning_rate": 0.002}
LEVELS = (
    Level(((1, 2, 3, 4, 5), (6, 7, 8, 9, 10)), {}),
    Level(((1, 2, 3), (4, 5), (6, 7, 8), (9, 10)), {"epochs": 8, **GENTLER}),
    Level(tuple((fold,) for fold in range(1, 11)), {"epochs": 5, **GENTLER}),
)


def main() -> None:
    arguments = _arguments()
    changes = dict(setting(text) for text in arguments.set)
    model = "lfw-compact" if not arguments.label else f"lfw-compact ({arguments.label})"
    out = Path(arguments.out) / model.replace(" ", "-")
    clock = Clock()
    for folder, of_level in trainings(out, changes):
        begun = clock.minutes
        run = train("lfw-compact", out=folder, changes=of_level, resume=True)
        clock.count_training(begun, run.seconds)
        print(run, flush=True)
    recipe = override(read_recipe("lfw-compact"), changes)
    seeing: list[tuple[str, Callable[[int], Scorer]]] = [
        (model, cache(lambda fold: load(_folder(out, (fold,))))),
        (f"{model}, mirrored", cache(lambda fold: mirrored(load(_folder(out, (fold,)))))),
    ]
    command = shlex.join(["python", "benchmarks/lfw_view2.py", *sys.argv[1:]])
    for name, scorer_of in seeing:
        result = measure(scorer_of, recipe.data.validation_fraction, recipe.seed)
        print(result, flush=True)
        for metric, value, interval in figures(result):
            record(
                BENCHMARK,
                name,
                metric,
                value,
                interval=interval,
                seeds=[recipe.seed],
                minutes=clock.minutes,
                command=command,
            )


def trainings(out: Path, changes: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Folder and settings of every training, each after the one that it begins with."""
    found: list[tuple[Path, dict[str, Any]]] = []
    parents: tuple[Folds, ...] = ()
    for level in LEVELS:
        for left_out in level.left_out:
            part = {"data.part": "not-fold" + ",".join(map(str, left_out))}
            start = [folds for folds in parents if set(left_out) < set(folds)]
            if start:
                part["start"] = str(_folder(out, start[0]))
            found.append((_folder(out, left_out), {**level.changes, **changes, **part}))
        parents = level.left_out
    return found


def measure(
    scorer_of: Callable[[int], Scorer], held_out: float, seed: int
) -> VerificationResult:
    """View 2, each fold at the threshold of people that its network was not trained on."""
    root = find("lfw")

    def threshold_of(fold: int) -> float:
        others = lfw.lfw_people(root, f"not-fold{fold}")
        _, held = others.hold_out(held_out, seed, "name")
        half = THRESHOLD_PAIRS // 2
        left, right = draw_pairs(held.labels, half, half, seed=seed)
        paths = np.array(held.paths, object)
        scores = score_pairs(scorer_of(fold), paths[left], paths[right])
        return best_threshold(scores, held.labels[left] == held.labels[right])

    pairs = lfw.lfw_view2(root)
    assert pairs.folds is not None
    scores = np.empty(len(pairs))
    for fold in range(1, 11):
        part = pairs.subset(pairs.folds == fold)
        scores[pairs.folds == fold] = score_pairs(scorer_of(fold), part.left, part.right)
    return score_folds(
        pairs,
        scores,
        threshold_of,
        protocol="LFW View 2, unrestricted, no outside data: a network for each fold, its "
        "threshold from held-out people of the nine others",
        model=scorer_of(10).name,
    )


def figures(result: VerificationResult) -> list[tuple[str, float, Interval | None]]:
    """(metric, value, 95% interval): LFW's table gives the accuracy's standard error."""
    assert result.accuracy is not None
    return [
        ("accuracy", result.accuracy, result.intervals["accuracy"]),
        ("standard_error", result.standard_errors["accuracy"], None),
        ("auc", result.auc, result.intervals["auc"]),
        ("eer", result.eer, result.intervals["eer"]),
    ]


def _folder(out: Path, left_out: Folds) -> Path:
    return out / ("not-" + "-".join(map(str, left_out)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], help="epochs=3, dotted keys")
    parser.add_argument(
        "--label", default="", help="what differs from the recipe, in words"
    )
    parser.add_argument("--out", default="runs/benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
