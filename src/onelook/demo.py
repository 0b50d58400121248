"""The demonstration: train a twin network on real images in about a minute, and use it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onelook.data.inputs.decoding import picture_of
from onelook.data.items import Dataset
from onelook.data.sources import download, find
from onelook.data.sources.digits import digits_part
from onelook.data.sources.omniglot import omniglot, omniglot_runs
from onelook.errors import DataError
from onelook.evaluation.oneshot import n_way_k_shot, omniglot_20_runs
from onelook.evaluation.verification import verify_all_pairs
from onelook.report.pictures import draw_comparison
from onelook.training.train import Run, train

log = logging.getLogger(__name__)

Echo = Callable[[str], None]


@dataclass(frozen=True)
class DemoData:
    """Which recipe the demonstration trains, on what, and the classes it is tested on."""

    recipe: str
    folder: str | Path | None
    test: Dataset


def demo(
    data: str | Path | None = None,
    out: str | Path = "runs/demo",
    progress: bool = True,
    echo: Echo = print,
) -> Run:
    """Train, measure on unseen classes, compare two drawings, write the report.

    Args:
        data: Folder with Omniglot; None looks in ``ONELOOK_DATA`` and the cache, then
            downloads it, and else takes the digits that scikit-learn ships.
        out: Folder of the model and its report.
        progress: Show a progress bar.
        echo: Where the lines for people go.
    """
    found = find_demo_data(data, echo)
    echo(
        f"training {found.recipe}: about a minute on two free cores; what lies in {out} is "
        "replaced"
    )
    run = train(found.recipe, found.folder, out, progress=progress, overwrite=True)
    verifier = run.verifier
    echo(f"trained in {run.seconds:.0f} s; now tested on classes that it has never seen:\n")
    if found.folder is not None:
        echo(str(omniglot_20_runs(verifier, omniglot_runs(found.folder))))
    else:
        echo(str(n_way_k_shot(verifier, found.test, found.test.n_classes, 1)))
    threshold = verifier.card["metrics"]["held-out best threshold"]
    pairs = verify_all_pairs(verifier, found.test, max_pairs=20_000, threshold=threshold)
    echo(str(pairs))
    _compare_two_pairs(run, found.test, echo)
    echo(f"\nmodel   {run.out}\nreport  {run.report.resolve()}")
    return run


def find_demo_data(data: str | Path | None, echo: Echo) -> DemoData:
    """Omniglot where it is or can be fetched, otherwise the digits that scikit-learn
    ships."""
    try:
        root = find("omniglot", data)
    except DataError:
        if data is not None:
            raise
        echo("Omniglot is not on this machine; fetching the official archives (15 MB)")
        try:
            root = download("omniglot")
        except DataError as error:
            echo(f"{error}\ntaking the handwritten digits that scikit-learn ships instead")
            return DemoData("digits", None, digits_part("test"))
    echo(f"Omniglot: {root}")
    return DemoData("omniglot-fast", root, omniglot(root, "evaluation"))


def _compare_two_pairs(run: Run, test: Dataset, echo: Echo) -> None:
    """Two drawings of one character, and two of different ones of the same group."""
    first = test.paths[0]
    is_same = test.labels == test.labels[0]
    same = test.paths[int(is_same.nonzero()[0][-1])]
    different = test.paths[int((~is_same).nonzero()[0][0])]
    answers = [run.verifier.compare(first, other) for other in (same, different)]
    echo("\ntwo drawings of one class:       " + str(answers[0]))
    echo("two drawings of different ones:  " + str(answers[1]))
    picture = draw_comparison(
        picture_of(first),
        [picture_of(same), picture_of(different)],
        [answer.caption for answer in answers],
        run.out / "comparison.png",
    )
    echo(f"picture {picture.resolve()}")
