"""The demonstration: train a twin network on real images in about a minute, and use it."""

from collections.abc import Callable
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
Folder = str | Path | None


def demo(
    data: Folder = None,
    out: str | Path = "runs/demo",
    progress: bool = True,
    echo: Echo = print,
) -> Run:
    """Train, measure on unseen classes, compare two pairs of drawings, write a report.

    Without Omniglot in ``data``, ``ONELOOK_DATA`` or the cache it is downloaded;
    scikit-learn's digits are used where that fails. What ``out`` holds is replaced.
    """
    recipe, folder, test = _find_data(data, echo)
    echo(f"training {recipe} into {out}: about a minute on two free cores")
    run = train(
        recipe,
        folder,
        out,
        progress=progress,
        overwrite=True,
        measure=lambda verifier: _measure(verifier, folder, test, echo),
    )
    _compare_two_pairs(run, test, echo)
    echo(f"\n{run}")
    return run


def _measure(verifier: Verifier, folder: Folder, test: Dataset, echo: Echo) -> Rows:
    """Print figures on classes that training has not seen; the first ones come back."""
    echo("trained; results on classes that training has not seen:\n")
    if folder is not None:
        one_shot = omniglot_20_runs(verifier, omniglot_runs(folder))
    else:
        one_shot = n_way_k_shot(verifier, test, test.n_classes, 1)
    assert verifier.card.metrics is not None  # it was just trained
    threshold = verifier.card.metrics.best_threshold
    pairs = verify_all_pairs(verifier, test, max_pairs=20_000, threshold=threshold)
    echo(f"{one_shot}\n{pairs}")
    return [
        (f"one-shot accuracy, {one_shot.n_way} unseen classes", f"{one_shot.accuracy:.4f}"),
        ("AUC, pairs of unseen classes", f"{pairs.auc:.4f}"),
    ]


def _find_data(data: Folder, echo: Echo) -> tuple[str, Folder, Dataset]:
    """A recipe, its data and its test: Omniglot where it can be had, else digits."""
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
            return "digits", None, digits_part("test")
    echo(f"Omniglot: {root}")
    return "omniglot-fast", root, omniglot(root, "evaluation")


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
