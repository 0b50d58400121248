"""What all commands share: the application, its options, how it prints and how it fails."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from onelook.verifier import Verifier

log = logging.getLogger("onelook")

# As people meet them: look around, train and measure, use, serve.
ORDER = (
    *("demo", "data", "recipes", "train", "evaluate", "calibrate"),
    *("compare", "explain", "find", "embed", "enroll", "identify", "forget", "gallery"),
    *("serve", "token"),
)


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    cls=_InOrder,
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


class _Messages(logging.Handler):
    """Log records on what is standard error now: a progress bar may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(level + self.format(record))


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


def example(line: str) -> str:
    return f"\b\nExample:\n  {line}"


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """After Ctrl-C in a training, say how to go on and exit with 130."""
    from onelook.training.loop import Interrupted

    if not sys.stderr.isatty():  # a log file has no progress bar: a line an epoch instead
        logging.getLogger("onelook.training.loop").setLevel(logging.INFO)
    try:
        yield
    except Interrupted as stop:
        say(f"{stop}\n{advice}")
        raise typer.Exit(130) from None


def load_model(model: str | None) -> "Verifier":
    from onelook.shipped import DEFAULT_MODEL, shipped_folder, shipped_names
    from onelook.verifier import load

    if model is not None:
        return load(model)
    # A folder of that name where the user stands is not what is meant.
    verifier = load(shipped_folder(DEFAULT_MODEL) or DEFAULT_MODEL)
    others = [f"--model {name}" for name in shipped_names() if name != DEFAULT_MODEL]
    choice = ", ".join([*others, "--model FOLDER"])
    say(f"model: {DEFAULT_MODEL}, for {verifier.card['purpose']}; else {choice}")
    return verifier


def print_rows(rows: dict[str, str], as_json: bool) -> None:
    if as_json:
        return print_json(rows)
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def say(message: str) -> None:
    print(message, file=sys.stderr)


def fail(message: str) -> NoReturn:
    say(f"error: {message}")
    sys.exit(1)
