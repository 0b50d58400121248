"""Options: those that several commands share have one name, one meaning, one help text."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer


def option(
    words: str,
    text: str,
    *,
    least: int | None = None,
    most: int | None = None,
    variable: str = "",
) -> Any:
    """An option; ``words`` are its names and what it takes, as in ``--out -o FILE``.

    ``variable`` of the environment keeps the value. It is set before NumPy, PyTorch or ONNX
    Runtime is imported, so that all follow it.
    """
    names = [word for word in words.split() if word.startswith("-")]
    takes = words.split()[len(names) :]

    def keep(value: Any) -> Any:
        if variable and value is not None:
            os.environ[variable] = str(value)
        return value

    metavar = takes[0] if takes else None
    return typer.Option(
        *names, metavar=metavar, help=text, min=least, max=most, callback=keep
    )


def argument(takes: str, text: str) -> Any:
    return typer.Argument(metavar=takes, help=text)


MODEL_HELP = "A folder that train wrote, or a name (onelook models)"
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
DEPTH_HELP = "Number of folders above a class folder [default: 0, or the model's own]"
Depth = Annotated[int | None, option("--depth N", DEPTH_HELP, least=0)]
SAME_HELP = "The label of a same pair, where the pair file does not say it"
Same = Annotated[int | None, option("--same 0|1", SAME_HELP, least=0, most=1)]
Beside = Annotated[
    Path | None,
    option(
        "--cohort FOLDER",
        "Unlabelled images of the place where the model answers, 20 or more: its "
        "thresholds then hold there",
    ),
]
Most = Annotated[int, option("-k N", "Largest number of results", least=1)]
Faces = Annotated[
    int | None,
    option(
        "--faces N",
        "An answer for each face of a picture (or drawing of a sheet): the N largest",
        least=1,
    ),
]
Vectors = Annotated[
    Path | None,
    option("--vectors FILE", "What onelook embed --out wrote, not to embed again"),
]
SkipBad = Annotated[bool, option("--skip-bad", "Go on without unreadable images")]
Threads = Annotated[
    int | None,
    option(
        "--threads N",
        "Threads of a computation [default: $OMP_NUM_THREADS, or all cores]",
        least=1,
        variable="OMP_NUM_THREADS",
    ),
]
Device = Annotated[
    str | None,
    option(
        "--device NAME",
        "cpu, cuda, … [default: $ONELOOK_DEVICE; else a GPU to train, cpu to answer]",
        variable="ONELOOK_DEVICE",
    ),
]
Json = Annotated[bool, option("--json", "Print JSON, for programs")]
