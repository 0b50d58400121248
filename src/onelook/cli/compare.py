"""Commands that use a model on files: compare, embed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import (
    print_either,
    print_json,
    print_result,
    print_rows,
    print_text,
    say,
    say_listed,
)
from onelook.cli.shared import app, check_files, example, load_model

if TYPE_CHECKING:
    from onelook.comparison import Comparison
    from onelook.data.items import Pairs
    from onelook.verifier import Verifier


@app.command(epilog=example("onelook compare a.png b.png"))
def compare(
    items: Annotated[
        list[str] | None, argument("A B", "Images (or texts); the first against all others")
    ] = None,
    model: options.Model = None,
    out: Annotated[
        Path | None, option("--out -o FILE", "Draw the comparison, e.g. picture.png")
    ] = None,
    pairs: Annotated[
        Path | None, option("--pairs FILE", "Compare every pair of a pair file instead")
    ] = None,
    faces: options.Faces = None,
    cohort: options.Beside = None,
    same: options.Same = None,
    root: options.Root = None,
    skip_bad: options.SkipBad = False,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Say whether two images show the same thing, or rank many."""
    if pairs is not None:
        if items or out:
            raise typer.BadParameter("takes no images and no picture", param_hint="--pairs")
        verifier = load_model(model, cohort)
        return _compare_pairs(verifier, pairs, same, root, as_json)
    if not items or len(items) < 2:
        raise typer.BadParameter("give two images, or --pairs FILE", param_hint="A B")
    check_files(items[:1] if skip_bad else items, model)
    verifier = load_model(model, cohort, items)
    if faces is not None:
        return _compare_all(verifier, items, faces, out, as_json)
    answers = _rank(verifier, items[0], items[1:], skip_bad)
    if len(items) == 2:
        print_result(answers[0], as_json)
    elif as_json:
        print_json([answer.to_dict() for answer in answers])
    else:
        print_rows({answer.right: str(answer) for answer in answers}, as_json)
    if out is not None:
        _draw(answers, out)


def _rank(
    verifier: "Verifier", query: str, others: list[str], skip_bad: bool
) -> "list[Comparison]":
    """``Verifier.rank``, with --skip-bad without those that cannot be read."""
    from onelook.vectors import BLOCK, encode_files

    if len(others) == 1:
        return verifier.rank(query, others)
    verifier.input.load(query, query)  # where it is bad itself, no other is

    def compare_some(some: Sequence[str]) -> "list[Comparison]":
        return verifier.compare_many([(query, one) for one in some])

    shown = len(others) > BLOCK
    _, answers, bad = encode_files(others, compare_some, skip_bad, shown)
    say_listed("skipped", bad)
    return sorted(answers, key=lambda answer: (-answer.score, answer.right))


def _compare_all(
    verifier: "Verifier", items: list[str], most: int, out: Path | None, as_json: bool
) -> None:
    from onelook.several import compare_all, draw_placed

    if len(items) != 2:
        raise typer.BadParameter("compares two pictures", param_hint="--faces")
    pairs = compare_all(verifier, items[0], items[1], most)
    if as_json:
        print_json([pair.to_dict() for pair in pairs])
    for pair in () if as_json else pairs:
        print_text(pair)
    if out is not None:
        draw_placed(items[0], items[1], pairs, out)
        say(f"picture: {out}")


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
    verifier: "Verifier", file: Path, same: int | None, root: Path | None, as_json: bool
) -> None:
    from onelook.evaluation.protocols import read_pairs_for

    pairs = read_pairs_for(verifier, file, root or "", same)
    answers = verifier.compare_many(list(zip(pairs.left, pairs.right, strict=True)))
    accuracy = _accuracy(verifier, answers, pairs)
    if as_json:
        rows = [answer.to_dict() for answer in answers]
        return print_json({"pairs": rows, "accuracy": accuracy})
    print("left\tright\tscore\tprobability\tverdict")
    for answer in answers:
        row = (answer.left, answer.right, f"{answer.score:.6f}", _cell(answer.probability))
        print_text("\t".join((*row, answer.verdict)))
    if verifier.decision is None:
        print("# no verdicts: the model has no threshold; add one with onelook calibrate")
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
    paths: Annotated[list[str], argument("PATH", "Images, folders or archives of images")],
    out: Annotated[Path, option("--out -o FILE", "vectors.npz or vectors.parquet")],
    model: options.Model = None,
    side: Annotated[
        Literal["left", "right"],
        option("--side left|right", "Which of two different encoders"),
    ] = "left",
    skip_bad: options.SkipBad = False,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Write the vectors of images beside their paths."""
    from onelook.vectors import check_ending, embed_files, write_vectors

    check_ending(out)
    content = embed_files(load_model(model, paths=paths), paths, side, skip_bad)
    target = write_vectors(out, content)
    say_listed("skipped", content.bad)
    n, size = content.vectors.shape
    answer = {"out": str(target), "vectors": n, "size": size, "bad": content.bad}
    print_either(answer, f"{n:,} vectors of {size} numbers: {target}", as_json)
