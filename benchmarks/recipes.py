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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from onelook.data.sources import find, source_of
from onelook.data.sources.att import att
from onelook.evaluation.baselines import BASELINES
from onelook.evaluation.oneshot import OneShotResult
from onelook.evaluation.protocols import evaluate
from onelook.evaluation.sentences import GradedResult
from onelook.evaluation.verification import mean_over_folds, verify_all_pairs
from onelook.metrics import wilson_interval
from onelook.recipe import override, read_recipe, recipe_names
from onelook.tables import Result
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
    results: dict[str, list[Result]] = {}
    for seed in seeds:
        seeded = {**changes, "seed": seed}
        folder = out if len(seeds) == 1 else out / f"seed{seed}"
        if arguments.folds:
            runs = _fold_runs(name, seeded, folder, arguments.folds, clock)
            protocol, result = MEAN_OF_FOLDS[recipe.data.source](runs)
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
        "--folds", type=int, default=0, help="how many of AT&T's 8 folds, the strokes' 4"
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


def _fold_runs(
    name: str, changes: dict[str, Any], out: Path, n_folds: int, clock: Clock
) -> list[Run]:
    """A training for each fold, which leaves that fold out."""
    return [
        _trained(name, {**changes, "data.part": f"not-fold{k}"}, out / f"fold{k}", clock)
        for k in range(1, n_folds + 1)
    ]


def _att_folds(runs: list[Run]) -> tuple[str, Result]:
    """Folds of five people: each is tested with a network that never saw them."""
    people = att(find("att"))
    assert people.folds is not None
    results = [
        verify_all_pairs(run.verifier, people.subset(people.folds == fold))
        for fold, run in enumerate(runs, 1)
    ]
    result = mean_over_folds(
        f"AT&T faces, {len(runs)} folds of five people",
        results[-1].model,
        {"auc": [one.auc for one in results], "eer": [one.eer for one in results]},
        scores=np.concatenate([one.scores for one in results]),
        is_same=np.concatenate([one.is_same for one in results]),
        n_classes=people.subset(people.folds <= len(runs)).n_classes,
    )
    return f"att-{len(runs)}-fold", result


def _stroke_folds(runs: list[Run]) -> tuple[str, Result]:
    """Folds of two alphabets, each matched by a network trained on the others."""
    results = [evaluate(run.verifier, "strokes-20w") for run in runs]
    n_trials = sum(result.n_trials for result in results)
    right = sum(result.accuracy * result.n_trials for result in results)
    pooled = replace(
        results[-1],
        accuracy=right / n_trials,
        interval=wilson_interval(right, n_trials),
        n_trials=n_trials,
        n_classes=sum(result.n_classes for result in results),
        per_group={k: v for result in results for k, v in result.per_group.items()},
    )
    return "strokes-20w", pooled


MEAN_OF_FOLDS = {"att": _att_folds, "strokes": _stroke_folds}


if __name__ == "__main__":
    main()
