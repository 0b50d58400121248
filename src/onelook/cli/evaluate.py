"""Commands that look at data and measure: data, evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.shared import (
    MODEL_HELP,
    Data,
    Depth,
    Json,
    ModelToo,
    Same,
    SkipBad,
    Threads,
    app,
    example,
    fail,
    named_model,
    print_json,
    print_rows,
    say,
)


@app.command(epilog=example("onelook data photos/ --show pairs.png"))
def data(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A data set by name, a folder of CLASS/IMAGE, or a pair file "
            "[default: list the data sets]",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="Where a data set lies; what a pair file is relative to",
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the official archives first")
    ] = False,
    show: Annotated[
        Path | None,
        typer.Option(
            "--show", metavar="FILE", help="Draw a grid of sampled pairs, e.g. pairs.png"
        ),
    ] = None,
    depth: Depth = None,
    same: Same = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Describe data: classes, sizes, groups, and what is broken."""

    from onelook.data import describe, sources

    if source is None:
        return print_rows({n: s.about for n, s in sources.DATA_SETS.items()}, as_json)
    if download:
        path = sources.download(source, path)
    opened = sources.open_source(source, root=path, depth=depth or 0, same=same)
    description = describe.describe(opened)
    if as_json:
        print_json(description.to_dict())
    else:
        print(description)
    if description.bad and not skip_bad:
        share = f"{len(description.bad):,} of {description.n_files:,}"
        fail(f"{share} images cannot be read; repair or remove them, or --skip-bad")
    if show is not None:
        from onelook.data.inputs.decoding import picture_of
        from onelook.report.pictures import draw_pairs

        drawn = describe.pairs_to_draw(opened, description.bad)
        draw_pairs(
            [(picture_of(a), picture_of(b), is_same) for a, b, is_same in drawn], show
        )
        say(f"picture: {show}")


@app.command(epilog=example("onelook evaluate hausdorff --protocol omniglot-20-runs"))
def evaluate(
    argument: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help=f"{MODEL_HELP}; or hausdorff, nearest-pixels, word-overlap",
        ),
    ] = None,
    model: ModelToo = None,
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
    depth: Depth = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure a model or a baseline by a published protocol."""
    from onelook.evaluation.protocols import PROTOCOLS, scorer_of
    from onelook.evaluation.protocols import evaluate as measure

    if protocol == "list":
        return print_rows({name: entry.about for name, entry in PROTOCOLS.items()}, as_json)
    scorer = scorer_of(named_model(argument, model))
    if protocol is None:
        from onelook.evaluation.protocols import default_protocol

        protocol = default_protocol(scorer)
        say(f"protocol {protocol}: {PROTOCOLS[protocol].about}")
    result = measure(scorer, protocol, data, depth)
    if as_json:
        print_json(result.to_dict())
    else:
        print(result)
