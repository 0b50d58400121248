"""Commands that train, and that list and check models: train, demo, recipes, models."""

import json
import logging
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import fail, print_either, print_json, print_rows, print_text, say
from onelook.cli.shared import (
    app,
    example,
    key_and_value,
    load_model,
    stoppable,
    written_folder,
)
from onelook.extras import import_extra
from onelook.tables import aligned

if TYPE_CHECKING:
    from onelook.training.train import Run
    from onelook.verifier import Verifier


@app.command(epilog=example("onelook train digits --out runs/digits --set epochs=5"))
def train(
    context: typer.Context,
    recipe: Annotated[str, argument("RECIPE", "A recipe's name or a YAML file")],
    data: options.Data = None,
    out: Annotated[
        Path | None, option("--out -o FOLDER", "The model's folder [default: runs/RECIPE]")
    ] = None,
    resume: Annotated[bool, option("--resume", "Continue a stopped training")] = False,
    settings: Annotated[
        list[str] | None, option("--set KEY=VALUE", "Change a setting of the recipe")
    ] = None,
    epochs: Annotated[
        int | None, option("--epochs N", "The same as --set epochs=N")
    ] = None,
    seed: Annotated[
        int | None, option("--seed N", "Seed of every random draw: --set seed=N")
    ] = None,
    depth: options.Depth = None,
    overwrite: Annotated[
        bool, option("--overwrite", "Replace an earlier training in --out")
    ] = False,
    skip_bad: options.SkipBad = False,
    tracker: Annotated[
        str | None, option("--tracker NAME", "tensorboard, mlflow or wandb")
    ] = None,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Train by a recipe; write model, decision and report."""
    changes = dict(_setting(text) for text in settings or [])
    changes |= {} if epochs is None else {"epochs": epochs}
    changes |= {} if seed is None else {"seed": seed}
    changes |= {} if depth is None else {"data.depth": depth}
    import_extra("torch", "train", "onelook train")
    from onelook.training.processes import is_first
    from onelook.training.train import train as run_training

    if not is_first():  # every process would warn of the same
        logging.getLogger("onelook").setLevel(logging.ERROR)
    given = [argument for argument in context.obj if argument != "--overwrite"]
    again = ["onelook", *given, *([] if resume else ["--resume"])]
    with stoppable(f"go on with: {shlex.join(again)}"):
        run = run_training(
            recipe,
            data,
            out,
            resume=resume,
            changes=changes,
            skip_bad=skip_bad,
            tracker=tracker,
            overwrite=overwrite,
        )
    if is_first():
        print_json(_facts(run)) if as_json else print(run)


def _facts(run: "Run") -> dict[str, Any]:
    fields = ("best_figure", "best_epoch", "seconds")
    places = {"model": str(run.out), "report": str(run.report)}
    measured = {field: getattr(run, field) for field in fields}
    card = run.verifier.card.model_dump(mode="json", exclude_none=True)
    return places | measured | {"metrics": card["metrics"]}


def _setting(text: str) -> tuple[str, Any]:
    """``optimizer.learning_rate=1e-3`` as a key and a value: JSON, or else YAML."""
    import yaml

    key, value = key_and_value(text, "--set")
    try:
        return key, json.loads(value)
    except ValueError:
        pass
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{value!r} is not YAML", param_hint="--set") from error


@app.command(epilog=example("onelook recipes koch-2015 > mine.yaml"))
def recipes(
    name: Annotated[str | None, argument("NAME", "Print this recipe's YAML")] = None,
    as_json: options.Json = False,
) -> None:
    """List the recipes with what they reproduce, or print one."""
    from importlib import resources

    from onelook.recipe import read_recipe, recipe_names

    if name is not None and as_json:
        print_json(read_recipe(name).model_dump(mode="json"))
    elif name is not None:
        read_recipe(name)  # a wrong name or file has its own error
        shipped = resources.files("onelook") / "recipes" / f"{name}.yaml"
        print((shipped if shipped.is_file() else Path(name)).read_text("utf-8"), end="")
    elif as_json:
        fields = ("name", "about", "published", "minutes")
        every = [read_recipe(one) for one in recipe_names()]
        print_json([{field: getattr(one, field) for field in fields} for one in every])
    else:
        for recipe in map(read_recipe, recipe_names()):
            print(f"{recipe.name}: {recipe.about}")
            minutes = f"{recipe.minutes:g}" if recipe.minutes else "not measured"
            print(f"  published: {recipe.published}; minutes on two cores: {minutes}")


@app.command(epilog=example("onelook demo --out demo"))
def demo(
    data: options.Data = None,
    out: Annotated[
        Path, option("--out -o FOLDER", "The model's folder, with its report")
    ] = Path("runs/demo"),
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Train and measure on real images in about a minute."""
    import_extra("torch", "train", "onelook demo")
    from onelook.demo import demo as run_demo

    with stoppable("start again with: onelook demo"):
        run = run_demo(data, out, echo=say if as_json else print)
    if as_json:
        print_json(_facts(run))


@app.command(epilog=example("onelook export runs/digits"))
def export(
    model: Annotated[str, argument("MODEL", options.MODEL_HELP)],
    out: Annotated[
        Path | None, option("--out -o FOLDER", "Where to write [default: MODEL itself]")
    ] = None,
    to: Annotated[
        Literal["onnx", "int8", "openvino", "torchscript", "page"],
        typer.Option("--to", help="page: static files that answer in a browser"),
    ] = "onnx",
    images: Annotated[
        Path | None,
        option(
            "--images FOLDER",
            "Pictures of the kind that the model will see: for the parity file; int8 needs "
            "100 or more",
        ),
    ] = None,
    check: Annotated[
        bool, option("--check", "MODEL is an exported folder: run its parity file")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Write a model for other runtimes, with a parity file, or for browsers.

    A page needs ONNX Runtime Web, which is fetched once: 33 MB, of which 14 are written.
    """
    if check:
        return _check_export(Path(model), as_json)
    if to == "page":
        return _export_page(model, out, as_json)
    import_extra("torch", "train", "onelook export")
    from onelook.data.archives import addresses_of
    from onelook.deploy import PARITY_FILE, write_export
    from onelook.loading import load

    if to != "onnx" and out is None:
        fail(f"--to {to} needs a folder of its own: add --out FOLDER")
    folder = written_folder(model, out)
    trained = load(model, runtime="torch")
    given = [] if images is None else addresses_of([images], trained.input.suffixes)
    write_export(trained, to, folder, given)
    if (folder / PARITY_FILE).is_file():
        return _check_export(folder, as_json)
    _compare_runtimes(trained, folder, as_json)


def _check_export(folder: Path, as_json: bool) -> None:
    from onelook.deploy import check_export

    found = check_export(folder)
    text = (
        f"{folder}: embeddings of {found['images']} images differ by at most "
        f"{found['largest_difference']:.1e} of their length (tolerance "
        f"{found['tolerance']:g})"
    )
    print_either({**found, "model": str(folder)}, text, as_json)


def _compare_runtimes(trained: "Verifier", folder: Path, as_json: bool) -> None:
    """For models without a parity file, whose inputs are drawn at random."""
    from onelook.loading import load
    from onelook.runtime.export import largest_difference

    written = load(folder, runtime="onnx")
    largest = max(
        largest_difference(trained.encoder(inputs, side), written.encoder(inputs, side))
        for side, inputs in trained.examples().items()
    )
    found = {"model": str(folder), "largest_difference": largest}
    text = f"{folder}: embeddings differ by at most {largest:.1e} of their length"
    print_either(found, text, as_json)


def _export_page(model: str, out: Path | None, as_json: bool) -> None:
    from onelook.page import write_page

    if out is None:
        fail("a page needs a folder of its own: add --out FOLDER")
    write_page(load_model(model), out)
    text = f"{out}: serve it with python -m http.server --directory {out}"
    print_either({"page": str(out)}, text, as_json)


@app.command(epilog=example("onelook check runs/digits"))
def check(
    model: Annotated[str, argument("MODEL", options.MODEL_HELP)],
    as_json: options.Json = False,
) -> None:
    """Read all files of a model, and let it embed."""
    import numpy as np

    verifier = load_model(model)  # refuses what is not as it was written
    for side, inputs in verifier.examples().items():
        if not np.isfinite(verifier.encoder(inputs, side)).all():
            fail(f"{model}: its network embeds to NaN; train it again, or restore a copy")
    decision = verifier.decision
    rows = {
        "files": "as they were written",
        "network": f"embeds to {verifier.embedding_size} finite numbers",
        "decision": "none: onelook calibrate fits one"
        if decision is None
        else f"threshold {decision.threshold:.4f}, false accepts {decision.far:.2g}",
        "familiarity": "none: images of other kinds are not noticed"
        if verifier.familiarity is None
        else "notices images of other kinds",
        "cohort": verifier.normalised_by or "none",
    }
    print_rows(rows, as_json)


@app.command(epilog=example("onelook models photos"))
def models(
    name: Annotated[
        str | None, argument("NAME", "Say all that is known of this model, or folder")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the models with names, what for and what they need, or describe one."""
    from onelook.zoo import FETCHABLE, shipped_models

    if name is not None:
        return _describe(name, as_json)

    found = [*shipped_models(), *FETCHABLE]
    if as_json:
        return print_json([asdict(one) for one in found])
    rows = {
        one.name: one.purpose + (f"; needs {one.needs}" if one.needs else "")
        for one in found
    }
    for one in FETCHABLE:
        rows[one.name] += f"; onelook fetch: {one.megabytes:,} MB, {one.licence}"
    print_rows(rows, as_json)


def _describe(name: str, as_json: bool) -> None:
    from onelook.zoo import model_details

    found = model_details(name)
    if as_json:
        return print_json(asdict(found))
    rows = [
        ("for", found.purpose),
        ("needs", found.needs and f"pip install '{found.needs}'"),
    ]
    if found.threshold is not None:
        stands_for = f"score {found.threshold:.4f} at a false-accept rate of {found.far:g}"
        rows.append(("threshold", stands_for))
    rows += [
        (f"{one['protocol']}, {one['metric']}", f"{one['value']:.4g}")
        for one in found.figures
    ]
    print_text(f"{found.name}\n{aligned([row for row in rows if row[1]])}")
    _, _, text = found.text.partition("\n")  # without its title
    if text:
        print_text(f"\n{text.strip()}")
