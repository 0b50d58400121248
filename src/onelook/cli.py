"""The command line: a thin command per verb, which parses, calls the library, prints."""

import json
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from onelook.errors import OnelookError

if TYPE_CHECKING:
    from onelook.data.pairs import Pairs
    from onelook.verifier import Comparison, Verifier

log = logging.getLogger("onelook")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What the options of several commands mean.
DATA_HELP = "Folder of the data [default: $ONELOOK_DATA, then the user's cache]"
MODEL_HELP = "Folder that train wrote, or the name of shipped weights"
SAME_HELP = "The label, 0 or 1, of a same pair where the pair file does not say it"
Data = Annotated[Path | None, typer.Option("--data", help=DATA_HELP)]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help=f"{MODEL_HELP} [default: omniglot, for drawings]"),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Go on without unreadable images")
]
Same = Annotated[int | None, typer.Option("--same", min=0, max=1, help=SAME_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs")]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0, or 1 (error), 2 (bad usage), 130 (Ctrl-C)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        app(arguments, prog_name="onelook", obj=arguments)
    except (OnelookError, ValueError, OSError) as error:
        log.info("where the error came from:", exc_info=True)
        _fail(str(error))
    sys.exit(0)


def _example(line: str) -> str:
    return f"\b\nExample:\n  {line}"


class _Messages(logging.Handler):
    """Log records on what is standard error now: a progress bar may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        _say(level + self.format(record))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"onelook {version('onelook')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version"
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Say what is being done, on standard error"),
    ] = False,
) -> None:
    """Tell from a single example whether two images show the same thing.

    Train, measure and use twin networks; onelook COMMAND --help explains a command.
    """
    log.handlers = [_Messages()]
    log.setLevel(logging.INFO if verbose else logging.WARNING)


@app.command(epilog=_example("onelook train digits --out runs/digits --set epochs=5"))
def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's name or a YAML file")
    ],
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The model's folder [default: runs/RECIPE]"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped training stood")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="The same as --set epochs=N")] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N")] = None,
    depth: Annotated[
        int | None, typer.Option(help="The same as --set data.depth=N: see onelook data")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the training that lies in --out")
    ] = False,
    skip_bad: SkipBad = False,
    tracker: Annotated[
        str | None, typer.Option(metavar="NAME", help="tensorboard, mlflow or wandb")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train by a recipe: weights, decision and report in one folder."""
    changes = dict(_setting(text) for text in settings or [])
    changes |= {} if epochs is None else {"epochs": epochs}
    changes |= {} if seed is None else {"seed": seed}
    changes |= {} if depth is None else {"data.depth": depth}
    from onelook.training.train import train as run_training

    given = [argument for argument in context.obj if argument != "--overwrite"]
    again = ["onelook", *given, *([] if resume else ["--resume"])]
    with _stoppable(f"go on with: {shlex.join(again)}"):
        run = run_training(
            recipe, data, out, resume, changes, skip_bad, tracker, overwrite=overwrite
        )
    if as_json:
        fields = ("best_figure", "best_epoch", "seconds")
        places = {"model": str(run.out), "report": str(run.report)}
        metrics = {"metrics": run.verifier.card["metrics"]}
        _print_json(places | {field: getattr(run, field) for field in fields} | metrics)
    else:
        print(run)


@contextmanager
def _stoppable(advice: str) -> Iterator[None]:
    """After Ctrl-C in a training, say how to go on and exit with 130."""
    from onelook.training.loop import Interrupted

    if not sys.stderr.isatty():  # a log file has no progress bar: a line an epoch instead
        logging.getLogger("onelook.training.loop").setLevel(logging.INFO)
    try:
        yield
    except Interrupted as stop:
        _say(f"{stop}\n{advice}")
        raise typer.Exit(130) from None


def _setting(text: str) -> tuple[str, Any]:
    """``optimizer.learning_rate=1e-3`` as a key and a value: JSON, or else YAML."""
    import yaml

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"expected KEY=VALUE, got {text!r}", param_hint="--set")
    try:
        return key, json.loads(value)
    except ValueError:
        pass
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"{value!r} is not YAML", param_hint="--set") from error


@app.command(epilog=_example("onelook evaluate hausdorff --protocol omniglot-20-runs"))
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help=f"{MODEL_HELP}; or hausdorff, nearest-pixels, word-overlap",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            "-p",
            metavar="NAME",
            help='How to measure; "list" names all [default: by what it was trained on]',
        ),
    ] = None,
    data: Data = None,
    depth: Annotated[
        int | None,
        typer.Option(help="Folders above your class folders [default: the model's own]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model or a baseline by a published protocol."""
    from onelook.evaluation.protocols import PROTOCOLS, scorer_of
    from onelook.evaluation.protocols import evaluate as measure

    if protocol == "list":
        return _print_rows(
            {name: entry.about for name, entry in PROTOCOLS.items()}, as_json
        )
    if model is None:
        raise typer.BadParameter("name a model or a baseline", param_hint="MODEL")
    scorer = scorer_of(model)
    if protocol is None:
        from onelook.evaluation.protocols import default_protocol

        protocol = default_protocol(scorer)
        _say(f"protocol {protocol}: {PROTOCOLS[protocol].about}")
    result = measure(scorer, protocol, data, depth)
    if as_json:
        _print_json(result.to_dict())
    else:
        print(result)


@app.command(epilog=_example("onelook compare a.png b.png"))
def compare(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="A B", help="Images (or texts); the first against all others"
        ),
    ] = None,
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Draw the comparison, e.g. picture.png"),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Compare every pair of a pair file instead"),
    ] = None,
    same: Same = None,
    root: Annotated[
        str, typer.Option("--root", help="What the paths of the pair file are relative to")
    ] = "",
    as_json: Json = False,
) -> None:
    """Tell whether images show the same thing; rank many."""
    if pairs is not None:
        if items or out:
            raise typer.BadParameter("takes no images and no picture", param_hint="--pairs")
        return _compare_pairs(model, pairs, same, root, as_json)
    if not items or len(items) < 2:
        raise typer.BadParameter(
            "give two images or more, or --pairs FILE", param_hint="A B"
        )
    answers = _load(model).rank(items[0], items[1:])
    if as_json:
        _print_json(
            answers[0].to_dict() if len(items) == 2 else [a.to_dict() for a in answers]
        )
    elif len(items) == 2:
        print(answers[0])
    else:
        _print_rows({answer.right: str(answer) for answer in answers}, as_json)
    if out is not None:
        _draw(answers, out)


def _draw(answers: "list[Comparison]", out: Path) -> None:
    from onelook.data.images import picture_of
    from onelook.pictures import draw_comparison

    draw_comparison(
        picture_of(answers[0].left),
        [picture_of(answer.right) for answer in answers],
        [f"{Path(answer.right).name}\n{answer.caption}" for answer in answers],
        out,
        query_caption=Path(answers[0].left).name,
    )
    _say(f"picture: {out}")


def _compare_pairs(
    model: str | None, file: Path, same: int | None, root: str, as_json: bool
) -> None:
    from onelook.evaluation.protocols import read_pairs_for

    verifier = _load(model)
    pairs = read_pairs_for(verifier, file, root, same)
    answers = verifier.compare_many(list(zip(pairs.left, pairs.right, strict=True)))
    accuracy = _accuracy(verifier, answers, pairs)
    if as_json:
        rows = [answer.to_dict() for answer in answers]
        return _print_json({"pairs": rows, "accuracy": accuracy})
    print("left\tright\tscore\tprobability\tverdict")
    for answer in answers:
        row = (answer.left, answer.right, f"{answer.score:.6f}", _cell(answer.probability))
        print(*row, answer.verdict, sep="\t")
    if accuracy is not None:
        print(f"# accuracy {accuracy:.4f} of {len(pairs):,} pairs at the model's threshold")


def _accuracy(
    verifier: "Verifier", answers: "list[Comparison]", pairs: "Pairs"
) -> float | None:
    from onelook.metrics import accuracy_at

    if verifier.decision is None or pairs.is_same is None:
        return None
    scores = [answer.score for answer in answers]
    return float(accuracy_at(scores, pairs.is_same, verifier.decision.threshold))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


@app.command(epilog=_example("onelook embed photos/ --model runs/digits --out vectors.npz"))
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Images, folders or archives of images"),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="vectors.npz or vectors.parquet, with the paths"),
    ],
    model: Model = None,
    side: Annotated[
        str, typer.Option(metavar="left|right", help="Which of two different encoders")
    ] = "left",
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Turn images into vectors, kept beside their paths."""
    from onelook.vectors import check_ending, embed_files, write_vectors

    if side not in ("left", "right"):
        raise typer.BadParameter(
            f"expected left or right, got {side!r}", param_hint="--side"
        )
    check_ending(out)
    content = embed_files(_load(model), paths, side, skip_bad)
    target = write_vectors(out, content)
    for address, reason in content.bad:
        _say(f"skipped {address}: {reason}")
    n, size = content.vectors.shape
    if as_json:
        _print_json({"out": str(target), "vectors": n, "size": size, "bad": content.bad})
    else:
        print(f"{n:,} vectors of {size} numbers: {target}")


@app.command(epilog=_example("onelook data photos/ --show pairs.png"))
def data(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A known source, a folder of CLASS/IMAGE, or a pair file"
        ),
    ],
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="Where a known source lies; what a pair file is relative to",
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the official archives first")
    ] = False,
    show: Annotated[
        Path | None,
        typer.Option("--show", help="Draw a grid of sampled pairs, e.g. pairs.png"),
    ] = None,
    depth: Annotated[
        int, typer.Option(min=0, help="How many folders stand above a class folder")
    ] = 0,
    same: Same = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Describe a source: classes, sizes, groups, and what is broken.

    Known sources: att, digits, lfw, lfw-funneled, lfw-plain, omniglot, sick, strokes.
    """
    from onelook.data import describe

    if download:
        path = describe.download(source, path)
    opened = describe.open_source(source, path, depth, same)
    description = describe.describe(opened)
    if as_json:
        _print_json(description.to_dict())
    else:
        print(description)
    if description.bad and not skip_bad:
        share = f"{len(description.bad):,} of {description.n_files:,}"
        _fail(f"{share} images cannot be read; repair or remove them, or --skip-bad")
    if show is not None:
        from onelook.data.images import picture_of
        from onelook.pictures import draw_pairs

        drawn = describe.pairs_to_draw(opened, description.bad)
        draw_pairs(
            [(picture_of(a), picture_of(b), is_same) for a, b, is_same in drawn], show
        )
        _say(f"picture: {show}")


@app.command(epilog=_example("onelook recipes koch-2015 > mine.yaml"))
def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this recipe's YAML")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the recipes with what they reproduce, or print one."""
    from importlib import resources

    from onelook.recipe import read_recipe, recipe_names

    if name is not None and as_json:
        _print_json(read_recipe(name).model_dump(mode="json"))
    elif name is not None:
        read_recipe(name)  # a wrong name or file has its own error
        shipped = resources.files("onelook") / "recipes" / f"{name}.yaml"
        print((shipped if shipped.is_file() else Path(name)).read_text("utf-8"), end="")
    elif as_json:
        fields = ("name", "about", "published", "minutes")
        every = [read_recipe(one) for one in recipe_names()]
        _print_json([{field: getattr(one, field) for field in fields} for one in every])
    else:
        for recipe in map(read_recipe, recipe_names()):
            print(f"{recipe.name}: {recipe.about}")
            minutes = f"{recipe.minutes:g}" if recipe.minutes else "not measured"
            print(f"  published: {recipe.published}; minutes on two cores: {minutes}")


@app.command(epilog=_example("onelook demo --out demo"))
def demo(
    data: Data = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the model and its report")
    ] = Path("runs/demo"),
) -> None:
    """Train and measure on real images in about a minute."""
    from onelook.demo import demo as run_demo

    with _stoppable("start again with: onelook demo"):
        run_demo(data, out, echo=print)


def _load(model: str | None) -> "Verifier":
    from onelook.shipped import DEFAULT_MODEL, shipped_folder, shipped_names
    from onelook.verifier import load

    if model is not None:
        return load(model)
    # A folder of that name where the user stands is not what is meant.
    verifier = load(shipped_folder(DEFAULT_MODEL) or DEFAULT_MODEL)
    others = [f"--model {name}" for name in shipped_names() if name != DEFAULT_MODEL]
    choice = ", ".join([*others, "--model FOLDER"])
    _say(f"model: {DEFAULT_MODEL}, for {verifier.card['purpose']}; else {choice}")
    return verifier


def _print_rows(rows: dict[str, str], as_json: bool) -> None:
    if as_json:
        return _print_json(rows)
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _fail(message: str) -> NoReturn:
    _say(f"error: {message}")
    sys.exit(1)
