"""What all commands share: the application, how it prints and how it fails."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from onelook.cli.options import option
from onelook.cli.printing import fail, say

if TYPE_CHECKING:
    from onelook.data.inputs.decoding import Item
    from onelook.verifier import Verifier

log = logging.getLogger("onelook")

# As people meet them: look around, train and measure, use, serve.
ORDER = (
    *("demo", "data", "review", "recipes", "train", "evaluate", "calibrate"),
    *("compare", "explain", "find", "embed", "enroll", "identify", "forget", "gallery"),
    *("models", "fetch", "push", "check", "export", "serve", "token"),
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


class _Messages(logging.Handler):
    """Writes log records to standard error as it is now: a progress bar may replace it."""

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
        bool, option("--verbose -v", "Say what is being done, on standard error")
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


def load_model(
    model: str | None, cohort: Path | None = None, paths: Sequence[str] = ()
) -> "Verifier":
    """The model of that folder or name; by default one for such pictures, which it says.

    Beside a cohort, where one is given; what is wrong with that is said.
    """
    from onelook.loading import load

    verifier = _default_model(paths) if model is None else load(model)
    return verifier if cohort is None else beside(verifier, cohort)


def beside(verifier: "Verifier", cohort: Path) -> "Verifier":
    """The model beside a cohort; what is wrong with that is said."""
    here = verifier.with_cohort(cohort)
    for note in () if here.cohort is None else here.cohort.notes:
        say(f"cohort {cohort}: {note}")
    return here


def _default_model(paths: Sequence[str]) -> "Verifier":
    """The shipped model for drawings, or that for photographs, as the pictures are."""
    from onelook.data.inputs.kinds import kind_of
    from onelook.loading import load
    from onelook.zoo import DEFAULT_MODEL, PHOTO_MODEL, shipped_folder

    is_photograph = kind_of(_pictures(paths)) == "photograph"
    name = PHOTO_MODEL if is_photograph else DEFAULT_MODEL
    # The shipped model, even where the current folder holds a folder of its name.
    verifier = load(shipped_folder(name) or name)
    seen = ", which these look like" if paths else ""
    faces = "for faces --model dlib-faces is better; " if is_photograph else ""
    say(
        f"model: {name}, for {verifier.card.purpose}{seen}; {faces}others with --model "
        "(see onelook models)"
    )
    return verifier


def _pictures(paths: Sequence[str]) -> "Iterator[Item]":
    """The pictures of files, folders and archives; what cannot be opened is left out."""
    from onelook.data.inputs.decoding import IMAGE_SUFFIXES
    from onelook.data.listing import list_items, read_item
    from onelook.errors import DataError

    for path in paths:
        with suppress(DataError, OSError):
            for _, place in list_items([path], IMAGE_SUFFIXES):
                yield read_item(place)


def key_and_value(text: str, option: str) -> tuple[str, str]:
    """The two halves of KEY=VALUE, as an option takes them."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"expected KEY=VALUE, got {text!r}", param_hint=option)
    return key, value


def named_model(argument: str | None, option: str | None) -> str:
    """The model of a command that takes it as MODEL or by --model."""
    model = argument if option is None else option
    if model is None or None not in (argument, option):
        raise typer.BadParameter("name one model", param_hint="MODEL, --model")
    return model


def written_folder(model: str, out: Path | None) -> Path:
    """The folder that a command changes: ``out``, or the model's own where it has one."""
    from onelook.files import expanded
    from onelook.zoo import SETTINGS_FILE

    folder = out or expanded(model)
    if out is None and not (folder / SETTINGS_FILE).is_file():
        fail(f"{model} stays as it is; --out FOLDER writes a copy")
    return folder


def check_files(items: Sequence[str], model: str | None) -> None:
    """Refuse missing files before a model is loaded; a side of texts takes no files."""
    from onelook.errors import DataError
    from onelook.zoo import DEFAULT_MODEL, input_kind, raw_settings

    settings = raw_settings(model or DEFAULT_MODEL)
    if settings.get("right_preprocess") or input_kind(settings) in ("", "text"):
        return
    for item in items:
        if not os.path.lexists(item.partition("!/")[0]):
            raise DataError(f"{item}: no such file")
