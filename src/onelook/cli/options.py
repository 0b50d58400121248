"""Options: those that several commands share have one name, one meaning, one help text."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer


def option(
    words: str, text: str, *, least: int | None = None, most: int | None = None
) -> Any:
    """An option; ``words`` are its names and what it takes, as in ``--out -o FILE``."""
    names = [word for word in words.split() if word.startswith("-")]
    takes = words.split()[len(names) :]
    metavar = takes[0] if takes else None
    return typer.Option(*names, metavar=metavar, help=text, min=least, max=most)


def argument(takes: str, text: str) -> Any:
    return typer.Argument(metavar=takes, help=text)


def _limit_threads(n: int | None) -> int | None:
    """Set before NumPy, PyTorch or ONNX Runtime is imported, so that all follow it."""
    if n is not None:
        os.environ["OMP_NUM_THREADS"] = str(n)
    return n


def _choose_device(name: str | None) -> str | None:
    """Set for every model that the command loads or trains."""
    if name is not None:
        os.environ["ONELOOK_DEVICE"] = name
    return name


MODEL_HELP = "A folder that train wrote, or the name of a shipped model (onelook models)"
GALLERY_HELP = "A file, postgresql://… or milvus://…"
Model = Annotated[
    str | None,
    option("--model -m MODEL", f"{MODEL_HELP} [default: omniglot, for drawings]"),
]
GalleryModel = Annotated[
    str | None,
    option(
        "--model -m MODEL",
        f"{MODEL_HELP} [default: the gallery's own; for a new one omniglot]",
    ),
]
ModelToo = Annotated[str | None, option("--model -m MODEL", "The same as MODEL")]
GalleryOption = Annotated[str, option("--gallery -g URL", GALLERY_HELP)]
GalleryArgument = Annotated[str, argument("GALLERY", GALLERY_HELP)]
Data = Annotated[
    Path | None,
    option(
        "--data FOLDER",
        "The folder of your images, or where a known source lies [default: $ONELOOK_DATA, "
        "then the user's cache]",
    ),
]
Root = Annotated[
    Path | None,
    option(
        "--root FOLDER",
        "What the paths of a pair file are relative to; where a known source lies",
    ),
]
Depth = Annotated[
    int | None,
    option(
        "--depth N",
        "Number of folders above a class folder [default: 0, or the model's own]",
        least=0,
    ),
]
Same = Annotated[
    int | None,
    option(
        "--same 0|1",
        "The label of a same pair, where the pair file does not say it",
        least=0,
        most=1,
    ),
]
Beside = Annotated[
    Path | None,
    option(
        "--cohort FOLDER",
        "Unlabelled images of the place where the model answers, 20 or more: its "
        "thresholds then hold there",
    ),
]
Most = Annotated[int, option("-k N", "Largest number of results", least=1)]
SkipBad = Annotated[bool, option("--skip-bad", "Go on without unreadable images")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        callback=_limit_threads,
        help="Threads of a computation [default: $OMP_NUM_THREADS, or all cores]",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        callback=_choose_device,
        help="cpu, cuda, … [default: $ONELOOK_DEVICE; else a GPU to train, cpu to answer]",
    ),
]
Json = Annotated[bool, option("--json", "Print JSON, for programs")]
