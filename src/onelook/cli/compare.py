"""Commands that use a model on files: compare, embed."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from onelook.tables import counted

if TYPE_CHECKING:
    from onelook.batch import Batch
    from onelook.comparison import Comparison
    from onelook.data.items import Pairs
    from onelook.verifier import Verifier


@app.command(epilog=example("onelook compare a.png b.png"))
def compare(
    items: Annotated[
        list[str] | None,
        argument("A B", "Images (or texts), the first against all others; or two folders"),
    ] = None,
    model: options.Model = None,
    out: Annotated[
        Path | None,
        option("--out -o FILE", "A drawing (picture.png); of many pairs a table (.csv)"),
    ] = None,
    every: Annotated[
        bool,
        option("--all", "Of two folders, each image with each, not only with its namesake"),
    ] = False,
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
    """Say whether two images show the same thing, or rank many.

    Two folders: each image of A against the image of B of the same name, as CSV.
    """
    from onelook.data.archives import addresses_of

    if pairs is not None:
        if items:
            raise typer.BadParameter("takes no images", param_hint="--pairs")
        verifier = load_model(model, cohort)
        return _compare_pairs(
            verifier,
            pairs,
            same=same,
            root=root,
            skip_bad=skip_bad,
            out=out,
            as_json=as_json,
        )
    if not items or len(items) < 2:
        raise typer.BadParameter("give two images, or --pairs FILE", param_hint="A B")
    check_files(items[:1] if skip_bad else items, model)
    verifier = load_model(model, cohort, items)
    if _are_folders(verifier, items):
        return _compare_folders(
            verifier, items, every=every, skip_bad=skip_bad, out=out, as_json=as_json
        )
    if every:
        raise typer.BadParameter("compares two folders", param_hint="--all")
    if faces is not None:
        return _compare_all(verifier, items, faces, out, as_json)
    others = addresses_of(items[1:], verifier.right_input.suffixes)
    answers = _rank(verifier, items[0], others, skip_bad)
    if len(others) == 1:
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


def _are_folders(verifier: "Verifier", items: list[str]) -> bool:
    """Whether these are two folders of images; a text may have the name of a folder."""
    from onelook.data.archives import holds_files

    is_of_images = bool(verifier.input.suffixes)
    return is_of_images and len(items) == 2 and all(map(holds_files, items))


def _compare_folders(
    verifier: "Verifier",
    items: list[str],
    *,
    every: bool,
    skip_bad: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    from onelook.batch import compare_folders

    batch = compare_folders(verifier, *items, every=every, skip_bad=skip_bad)
    if batch.alone:
        say(f"without a namesake: {counted(len(batch.alone), 'image')}: {batch.alone[0]} …")
    _put(batch, out, as_json)


def _compare_pairs(
    verifier: "Verifier",
    file: Path,
    *,
    same: int | None,
    root: Path | None,
    skip_bad: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    from onelook.batch import compare_files
    from onelook.evaluation.protocols import read_pairs_for

    pairs = read_pairs_for(verifier, file, root or "", same)
    batch = compare_files(verifier, pairs.left, pairs.right, skip_bad=skip_bad)
    _put(batch, out, as_json, pairs)


def _put(
    batch: "Batch", out: Path | None, as_json: bool, pairs: "Pairs | None" = None
) -> None:
    """Print or write the answers of a batch as they come, and say how many are right."""
    from onelook.batch import csv_lines, write_comparisons

    if out is not None and out.suffix != ".csv":
        raise typer.BadParameter(f"many pairs go into a .csv file, got {out}")
    if batch.verifier.decision is None:
        say("no verdicts: the model has no threshold; add one with onelook calibrate")
    batch.progress = bool(out or as_json) or not sys.stdout.isatty()
    scores, rows = list[float](), list[dict[str, Any]]()
    answers = _noted(batch, scores)
    try:
        if as_json:
            rows += [answer.to_dict() for answer in answers]
        elif out is not None:
            write_comparisons(out, answers)
        else:
            for line in csv_lines(answers):
                print_text(line.removesuffix("\n"))
    except KeyboardInterrupt:
        say(f"stopped after {len(scores):,} of {counted(len(batch), 'pair')}")
        raise typer.Exit(130) from None
    say_listed("skipped", batch.bad)
    accuracy = None if pairs is None else _accuracy(batch, scores, pairs)
    if as_json:
        print_json({"pairs": rows} | ({} if pairs is None else {"accuracy": accuracy}))
    if accuracy is not None:
        say(f"accuracy {accuracy:.4f} of {len(scores):,} pairs at the model's threshold")
    if out is not None:
        say(f"{counted(len(scores), 'pair')}: {out}")


def _noted(batch: "Batch", scores: list[float]) -> "Iterator[Comparison]":
    for answer in batch:
        scores.append(answer.score)
        yield answer


def _accuracy(batch: "Batch", scores: list[float], pairs: "Pairs") -> float | None:
    """Of the pairs that could be read; None without labels or a threshold."""
    from onelook.metrics import accuracy_at

    if batch.verifier.decision is None or pairs.is_same is None or not scores:
        return None
    bad = {file for file, _ in batch.bad}
    both = zip(pairs.left, pairs.right, strict=True)
    kept = [left not in bad and right not in bad for left, right in both]
    threshold = batch.verifier.decision.threshold
    return float(accuracy_at(scores, pairs.is_same[kept], threshold))


@app.command(epilog=example("onelook embed photos/ --model runs/digits --out vectors.npz"))
def embed(
    paths: Annotated[
        list[str],
        argument("PATH", "Images, folders or archives; for a folder also .tar, .parquet"),
    ],
    out: Annotated[
        Path, option("--out -o FILE", "vectors.npz, vectors.parquet, or a folder of shards")
    ],
    model: options.Model = None,
    side: Annotated[
        Literal["left", "right"],
        option("--side left|right", "Which of two different encoders"),
    ] = "left",
    workers: Annotated[
        str,
        option("--workers N|ray", "Processes that fill a folder, or all of Ray's machines"),
    ] = "1",
    skip_bad: options.SkipBad = False,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Write the vectors of images beside their paths.

    A folder takes any number of images, 4,096 a file, and lists in bad.tsv what cannot be
    read. After a stop the same command goes on.
    """
    from onelook.vectors import check_ending, embed_files, write_vectors

    if not out.suffix or out.is_dir():
        return _embed_shards(paths, out, model, side, workers, as_json)
    if workers != "1":
        raise typer.BadParameter("needs --out FOLDER", param_hint="--workers")
    check_ending(out)
    content = embed_files(load_model(model, paths=paths), paths, side, skip_bad)
    target = write_vectors(out, content)
    say_listed("skipped", content.bad)
    n, size = content.vectors.shape
    answer = {"out": str(target), "vectors": n, "size": size, "bad": content.bad}
    print_either(answer, f"{n:,} vectors of {size} numbers: {target}", as_json)


def _embed_shards(
    paths: list[str], out: Path, model: str | None, side: str, workers: str, as_json: bool
) -> None:
    from onelook.bulk import RAY, embed_shards

    if workers != RAY and not (workers.isdecimal() and int(workers)):
        raise typer.BadParameter("expected a number or ray", param_hint="--workers")
    verifier = load_model(model, paths=paths)
    n = workers if workers == RAY else int(workers)
    try:
        done = embed_shards(verifier, paths, out, side=side, workers=n)
    except KeyboardInterrupt:
        say("stopped; what is written is kept: the same command again goes on")
        raise typer.Exit(130) from None
    say_listed("skipped", done.bad)
    print_result(done, as_json)
