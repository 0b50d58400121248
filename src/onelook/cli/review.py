"""The command that looks through a folder of images: review."""

from pathlib import Path
from typing import Annotated

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import print_result, say, say_listed
from onelook.cli.shared import app, example, load_model


@app.command(epilog=example("onelook review photos/ --out review.html"))
def review(
    folder: Annotated[
        Path, argument("FOLDER", "A folder or archive: CLASS/IMAGE, or images alone")
    ],
    out: Annotated[
        Path | None, option("--out -o FILE", "Write the page with pictures, an .html file")
    ] = None,
    groups: Annotated[
        Path | None,
        option(
            "--groups FOLDER", "Copy each group without a name into a folder of its own"
        ),
    ] = None,
    no_labels: Annotated[
        bool, option("--no-labels", "Folders are no classes: group all images")
    ] = False,
    vectors: options.Vectors = None,
    model: options.Model = None,
    cohort: options.Beside = None,
    skip_bad: options.SkipBad = False,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Find duplicates, wrong labels, strangers and groups in a folder of images.

    Rename the folders that --groups wrote, and onelook enroll takes them.
    """
    from onelook.review.groups import check_new, write_groups
    from onelook.review.page import check_page, write_page
    from onelook.review.review import review as review_folder

    if out is not None:
        check_page(out)
    if groups is not None:
        check_new(groups)
    found = review_folder(
        load_model(model, cohort, [str(folder)]),
        folder,
        labelled=not no_labels,
        vectors=vectors,
        skip_bad=skip_bad,
    )
    say_listed("skipped", found.bad)
    print_result(found, as_json)
    if out is not None:
        say(f"page: {write_page(found, out)}")
    if groups is not None:
        n_groups = f"{len(found.groups):,} groups"
        say(f"{n_groups}: {write_groups(found.paths, found.groups, groups)}")
