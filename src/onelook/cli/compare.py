"""Commands that use a model on files: compare, embed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.shared import (
    Json,
    Model,
    Root,
    Same,
    SkipBad,
    Threads,
    app,
    check_files,
    example,
    load_model,
    print_json,
    print_rows,
    say,
)

if TYPE_CHECKING:
    from onelook.comparison import Comparison
    from onelook.data.items import Pairs
    from onelook.verifier import Verifier


@app.command(epilog=example("onelook compare a.png b.png"))
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
        typer.Option(
            "--out", "-o", metavar="FILE", help="Draw the comparison, e.g. picture.png"
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs", metavar="FILE", help="Compare every pair of a pair file instead"
        ),
    ] = None,
    same: Same = None,
    root: Root = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Say whether two images show the same thing, or rank many."""
    if pairs is not None:
        if items or out:
            raise typer.BadParameter("takes no images and no picture", param_hint="--pairs")
        return _compare_pairs(model, pairs, same, root, as_json)
    if not items or len(items) < 2:
        raise typer.BadParameter(
            "give two images or more, or --pairs FILE", param_hint="A B"
        )
    check_files(items, model)
    answers = load_model(model).rank(items[0], items[1:])
    if as_json:
        print_json(
            answers[0].to_dict() if len(items) == 2 else [a.to_dict() for a in answers]
        )
    elif len(items) == 2:
        print(answers[0])
    else:
        print_rows({answer.right: str(answer) for answer in answers}, as_json)
    if out is not None:
        _draw(answers, out)


def _draw(answers: "list[Comparison]", out: Path) -> None:
    from onelook.data.inputs.decoding import picture_of
    from onelook.report.pictures import draw_comparison

    draw_comparison(
        picture_of(answers[0].left),
        [picture_of(answer.right) for answer in answers],
        [f"{Path(answer.right).name}\n{answer.caption}" for answer in answers],
        out,
        query_caption=Path(answers[0].left).name,
    )
    say(f"picture: {out}")


def _compare_pairs(
    model: str | None, file: Path, same: int | None, root: Path | None, as_json: bool
) -> None:
    from onelook.evaluation.protocols import read_pairs_for

    verifier = load_model(model)
    pairs = read_pairs_for(verifier, file, root or "", same)
    answers = verifier.compare_many(list(zip(pairs.left, pairs.right, strict=True)))
    accuracy = _accuracy(verifier, answers, pairs)
    if as_json:
        rows = [answer.to_dict() for answer in answers]
        return print_json({"pairs": rows, "accuracy": accuracy})
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


@app.command(epilog=example("onelook embed photos/ --model runs/digits --out vectors.npz"))
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Images, folders or archives of images"),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="vectors.npz or vectors.parquet"),
    ],
    model: Model = None,
    side: Annotated[
        str, typer.Option(metavar="left|right", help="Which of two different encoders")
    ] = "left",
    skip_bad: SkipBad = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Write the vectors of images beside their paths."""
    from onelook.vectors import check_ending, embed_files, write_vectors

    if side not in ("left", "right"):
        raise typer.BadParameter(
            f"expected left or right, got {side!r}", param_hint="--side"
        )
    check_ending(out)
    content = embed_files(load_model(model), paths, side, skip_bad)
    target = write_vectors(out, content)
    for address, reason in content.bad:
        say(f"skipped {address}: {reason}")
    n, size = content.vectors.shape
    if as_json:
        print_json({"out": str(target), "vectors": n, "size": size, "bad": content.bad})
    else:
        print(f"{n:,} vectors of {size} numbers: {target}")
