"""Train recipes and measure them by their protocols; write the figures to results.json.

python benchmarks/recipes.py omniglot-compact
python benchmarks/recipes.py omniglot-compact --seeds 0 1 2
python benchmarks/recipes.py att-contrastive --folds 8 --set epochs=30
python benchmarks/recipes.py hausdorff
python benchmarks/recipes.py dlib-faces
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from onelook.data.sources import find, source_of
from onelook.data.sources.att import att
from onelook.data.sources.strokes import N_FOLDS as STROKE_FOLDS
from onelook.evaluation.oneshot import OneShotResult
from onelook.evaluation.protocols import (
    BASELINES,
    Result,
    evaluate,
    scorer_of,
)
from onelook.evaluation.sentences import GradedResult
from onelook.evaluation.verification import (
    VerificationResult,
    mean_over_folds,
    verify_all_pairs,
)
from onelook.metrics import wilson_interval
from onelook.recipe import override, read_recipe, recipe_names
from onelook.training.train import Run, train
from record import Clock, record

PROTOCOLS_OF = {
    "omniglot-compact": [
        "omniglot-20-runs",
        "omniglot-within-alphabet",
        "koch-one-shot",
        "koch-verification",
        "digits-one-shot",
    ],
    "omniglot-vinyals": ["vinyals-20w1s", "vinyals-5w1s", "vinyals-20w5s", "vinyals-5w5s"],
    "triplet-omniglot": ["omniglot-20-runs", "omniglot-within-alphabet"],
    "koch-2015": ["koch-one-shot", "koch-verification", "omniglot-20-runs"],
    "hausdorff": ["omniglot-20-runs"],
    "nearest-pixels": ["omniglot-20-runs"],
    "word-overlap": ["sick-test"],
    "faces": ["lfw-view1"],
    "faces-aligned": ["lfw-view1"],
    "dlib-faces": ["lfw-view2"],
    "dlib-faces-mirrored": ["lfw-view2"],
}
# What is measured without a training: baselines, and weights that are there.
READY = [*BASELINES, "faces", "faces-aligned", "dlib-faces", "dlib-faces-mirrored"]


# Where the name of a benchmark says more than the protocol's: what it stands in for.
BENCHMARK_OF = {
    "koch-verification": "koch-verification-150k",
    "digits-one-shot": "mnist-10w1s",
}
STAND_INS = {"digits-one-shot": "scikit-learn's digits"}


def main() -> None:
    arguments = _arguments()
    name = arguments.name
    changes = dict(setting(text) for text in arguments.set)
    command = shlex.join(["python", "benchmarks/recipes.py", *sys.argv[1:]])
    model = name if not arguments.label else f"{name} ({arguments.label})"
    out = Path(arguments.out) / model.replace(" ", "-").replace("/", "-")
    clock = Clock()
    if name in READY:
        for protocol in PROTOCOLS_OF[name]:
            result = evaluate(name, protocol)
            _report([result], protocol, model, seeds=[], clock=clock, command=command)
        return
    recipe = override(read_recipe(name), changes)
    seeds = arguments.seeds or [recipe.seed]
    if arguments.folds and recipe.data.source != "att":
        _stroke_folds(name, changes, out, model, seeds, clock, command)
        return
    results: dict[str, list[Result]] = {}
    for seed in seeds:
        seeded = {**changes, "seed": seed}
        folder = out if len(seeds) == 1 else out / f"seed{seed}"
        if arguments.folds:
            protocol = f"att-{arguments.folds}-fold"
            result = _att_folds(name, seeded, folder, arguments.folds, clock)
            results.setdefault(protocol, []).append(result)
            continue
        run = _trained(name, seeded, folder, clock)
        protocols = PROTOCOLS_OF.get(name, [source_of(recipe.data).protocol])
        for protocol in arguments.protocols or protocols:
            results.setdefault(protocol, []).append(evaluate(run.verifier, protocol))
    is_small = recipe.data.part.startswith("small")
    suffix = f"-{recipe.data.part}" if is_small else ""
    for protocol, of_seeds in results.items():
        stand_in = STAND_INS.get(protocol)
        named = f"{model} ({stand_in})" if stand_in else model
        _report(
            *(of_seeds, protocol, named),
            seeds=seeds,
            clock=clock,
            command=command,
            suffix=suffix,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*recipe_names(), *READY])
    parser.add_argument("--set", action="append", default=[], help="epochs=3, dotted keys")
    parser.add_argument(
        "--label", default="", help="what differs from the recipe, in words"
    )
    parser.add_argument(
        "--folds", type=int, default=0, help="AT&T: how many of the 8 folds"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[],
        help="one training a seed; their mean",
    )
    parser.add_argument(
        "--protocols", nargs="+", default=[], help="others than the recipe's own"
    )
    parser.add_argument("--out", default="runs/benchmarks")
    return parser.parse_args()


def setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    return key, yaml.safe_load(value)


def _trained(name: str, changes: dict[str, Any], out: Path, clock: Clock) -> Run:
    begun = clock.minutes
    run = train(name, out=out, changes=changes, resume=True)
    clock.count_training(begun, run.seconds)
    print(run, flush=True)
    return run


def _report(
    results: list[Result],
    protocol: str,
    model: str,
    *,
    seeds: list[int],
    clock: Clock,
    command: str,
    suffix: str = "",
) -> None:
    """Print every seed's result and record the means.

    The ends of the interval are means too: all seeds meet the same test items, so a mean of
    seeds says no more about other items than one network does.
    """
    for result in results:
        print(result, flush=True)
    for rows in zip(*(figures(result, protocol) for result in results), strict=True):
        metric, _, interval = rows[0]
        values = [value for _, value, _ in rows]
        mean = float(np.mean(values))
        if interval is not None:
            low, high = np.mean([ends for _, _, ends in rows], axis=0)
            interval = float(low), float(high)
        of_seeds = ", ".join(f"{value:.4f}" for value in values)
        benchmark = BENCHMARK_OF.get(protocol, protocol) + suffix
        print(f"{benchmark} {metric}: {mean:.4f}, seeds {of_seeds}", flush=True)
        record(
            benchmark,
            model,
            metric,
            mean,
            interval=interval,
            seeds=seeds,
            values=values,
            minutes=clock.minutes / len(results),
            command=command,
        )


def figures(result: Result, protocol: str) -> list[tuple[str, float, Any]]:
    """(metric, value, 95% interval) of a result, by the names in results.json."""
    if isinstance(result, GradedResult):
        return [("pearson", result.pearson, result.interval)]
    if isinstance(result, OneShotResult):
        low, high = result.interval
        if protocol == "omniglot-20-runs":
            return [("error", result.error, (1 - high, 1 - low))]
        return [("accuracy", result.accuracy, result.interval)]
    rows = [
        ("eer", result.eer, result.intervals.get("eer")),
        ("auc", result.auc, result.intervals.get("auc")),
    ]
    if result.accuracy is not None:
        rows.insert(0, ("accuracy", result.accuracy, result.intervals.get("accuracy")))
    return rows


def _att_folds(
    name: str,
    changes: dict[str, Any],
    out: Path,
    n_folds: int,
    clock: Clock,
) -> VerificationResult:
    """Eight folds of five people: each is tested with a network that never saw them."""
    people = att(find("att"))
    assert people.folds is not None
    results = []
    for fold in range(1, n_folds + 1):
        folder = out / f"fold{fold}"
        _trained(name, {**changes, "data.part": f"not-fold{fold}"}, folder, clock)
        tested = people.subset(people.folds == fold)
        results.append(verify_all_pairs(scorer_of(folder), tested, n_resamples=0))
    return mean_over_folds(
        f"AT&T faces, {n_folds} folds of five people",
        results[-1].model,
        {"auc": [one.auc for one in results], "eer": [one.eer for one in results]},
        scores=np.concatenate([one.scores for one in results]),
        is_same=np.concatenate([one.is_same for one in results]),
        n_classes=people.subset(people.folds <= n_folds).n_classes,
        seed=0,
    )


def _stroke_folds(
    name: str,
    changes: dict[str, Any],
    out: Path,
    model: str,
    seeds: list[int],
    clock: Clock,
    command: str,
) -> None:
    """Four folds of two alphabets, each matched by a network trained on the others."""
    results = []
    for fold in range(1, STROKE_FOLDS + 1):
        part = {"data.part": f"not-fold{fold}"}
        run = _trained(name, {**changes, **part}, out / f"fold{fold}", clock)
        results.append(evaluate(run.verifier, "strokes-20w"))
        print(results[-1], flush=True)
    n_trials = sum(result.n_trials for result in results)
    right = sum(result.accuracy * result.n_trials for result in results)
    print(f"all folds: accuracy {right / n_trials:.4f} of {n_trials:,} drawings")
    record(
        "strokes-20w",
        model,
        "accuracy",
        right / n_trials,
        interval=wilson_interval(right, n_trials),
        seeds=seeds,
        minutes=clock.minutes,
        command=command,
    )


if __name__ == "__main__":
    main()
