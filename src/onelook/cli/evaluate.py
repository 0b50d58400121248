"""Commands that look at data and measure: data, evaluate."""

from pathlib import Path
from typing import Annotated

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import fail, print_result, print_rows, say
from onelook.cli.shared import app, beside, example, named_model


@app.command(epilog=example("onelook data photos/ --show pairs.png"))
def data(
    source: Annotated[
        str | None,
        argument(
            "SOURCE",
            "A data set by name, a folder of CLASS/IMAGE, or a pair file "
            "[default: list the data sets]",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        argument("PATH", "Where a data set lies; what a pair file is relative to"),
    ] = None,
    download: Annotated[
        bool, option("--download", "Fetch the official archives first")
    ] = False,
    show: Annotated[
        Path | None, option("--show FILE", "Draw a grid of sampled pairs, e.g. pairs.png")
    ] = None,
    depth: options.Depth = None,
    same: options.Same = None,
    skip_bad: options.SkipBad = False,
    as_json: options.Json = False,
) -> None:
    """Describe data: classes, sizes, groups, and what is broken."""
    from onelook.data import describe, sources

    if source is None:
        return print_rows({n: s.about for n, s in sources.DATA_SETS.items()}, as_json)
    if download:
        path = sources.download(source, path)
    opened = sources.open_source(source, root=path, depth=depth or 0, same=same)
    description = describe.describe(opened)
    print_result(description, as_json)
    images = description.images
    if images is not None and images.bad and not skip_bad:
        share = f"{len(images.bad):,} of {images.n_images:,}"
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
    named: Annotated[
        str | None,
        argument(
            "MODEL", f"{options.MODEL_HELP}; or hausdorff, nearest-pixels, word-overlap"
        ),
    ] = None,
    model: options.ModelToo = None,
    protocol: Annotated[
        str | None,
        option(
            "--protocol -p NAME",
            'How to measure; "list" names all [default: by what it was trained on]',
        ),
    ] = None,
    data: options.Data = None,
    depth: options.Depth = None,
    cohort: options.Beside = None,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Measure a model or a baseline by a published protocol."""
    from onelook.evaluation import protocols
    from onelook.verifier import Verifier

    if protocol == "list":
        return print_rows(
            {name: entry.about for name, entry in protocols.PROTOCOLS.items()}, as_json
        )
    scorer = protocols.scorer_of(named_model(named, model))
    if isinstance(scorer, Verifier):
        scorer.shows_progress = True
        scorer = scorer if cohort is None else beside(scorer, cohort)
    elif cohort is not None:
        fail(f"--cohort {cohort}: {scorer.name} is no model, so it takes no cohort")
    if protocol is None:
        protocol = protocols.default_protocol(scorer)
        say(f"protocol {protocol}: {protocols.PROTOCOLS[protocol].about}")
    print_result(protocols.evaluate(scorer, protocol, data, depth), as_json)
