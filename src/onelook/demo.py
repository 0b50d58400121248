"""The demonstration: train a twin network on real images in about a minute, and use it."""

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
from onelook.tables import Rows
from onelook.training.train import Run, train
from onelook.verifier import Verifier

Echo = Callable[[str], None]


@dataclass(frozen=True)
class DemoData:
    """The recipe that the demonstration trains, its data, and the classes of the test."""

    recipe: str
    folder: str | Path | None
    test: Dataset


def demo(
    data: str | Path | None = None,
    out: str | Path = "runs/demo",
    progress: bool = True,
    echo: Echo = print,
) -> Run:
    """Train, measure on unseen classes, compare two pairs of drawings, write a report.

    Args:
        data: Folder with Omniglot; None looks in ``ONELOOK_DATA`` and the cache, then
            downloads it, and uses the digits of scikit-learn where that fails.
        out: Folder of the model and its report; what it holds is replaced.
        progress: Report progress on standard error.
        echo: Function that prints a line.
    """
    found = find_demo_data(data, echo)
    echo(f"training {found.recipe} into {out}: about a minute on two free cores")
    run = train(
        found.recipe,
        found.folder,
        out,
        progress=progress,
        overwrite=True,
        measure=lambda verifier: _measure(verifier, found, echo),
    )
    _compare_two_pairs(run, found.test, echo)
    echo(f"\n{run}")
    return run


def _measure(verifier: Verifier, found: DemoData, echo: Echo) -> Rows:
    """Print figures on classes that training has not seen; the first ones come back."""
    echo("trained; results on classes that training has not seen:\n")
    if found.folder is not None:
        one_shot = omniglot_20_runs(verifier, omniglot_runs(found.folder))
    else:
        one_shot = n_way_k_shot(verifier, found.test, found.test.n_classes, 1)
    assert verifier.card.metrics is not None  # it was just trained
    threshold = verifier.card.metrics.best_threshold
    pairs = verify_all_pairs(verifier, found.test, max_pairs=20_000, threshold=threshold)
    echo(f"{one_shot}\n{pairs}")
    return [
        (f"one-shot accuracy, {one_shot.n_way} unseen classes", f"{one_shot.accuracy:.4f}"),
        ("AUC, pairs of unseen classes", f"{pairs.auc:.4f}"),
    ]


def find_demo_data(data: str | Path | None, echo: Echo) -> DemoData:
    """Omniglot if it is here or can be fetched, else the digits of scikit-learn."""
    try:
        root = find("omniglot", data)
    except DataError:
        if data is not None:
            raise
        echo("Omniglot is not on this machine; downloading it (15 MB)")
        try:
            root = download("omniglot")
        except DataError as error:
            echo(f"{error}\nusing the handwritten digits of scikit-learn instead")
            return DemoData("digits", None, digits_part("test"))
    echo(f"Omniglot: {root}")
    return DemoData("omniglot-fast", root, omniglot(root, "evaluation"))


def _compare_two_pairs(run: Run, test: Dataset, echo: Echo) -> None:
    """Compare two drawings of one character, and drawings of two characters."""
    first = test.paths[0]
    is_same = test.labels == test.labels[0]
    same = test.paths[int(is_same.nonzero()[0][-1])]
    different = test.paths[int((~is_same).nonzero()[0][0])]
    answers = [run.verifier.compare(first, other) for other in (same, different)]
    echo(f"\ntwo drawings of one class:    {answers[0]}")
    echo(f"drawings of two classes:      {answers[1]}")
    picture = draw_comparison(
        picture_of(first),
        [picture_of(same), picture_of(different)],
        [answer.caption for answer in answers],
        run.out / "comparison.png",
    )
    echo(f"their picture:                {picture}")
