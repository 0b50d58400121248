"""The command that fits or checks a decision: calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import print_either, print_json, print_result, say
from onelook.cli.shared import app, beside, example, named_model, written_folder
from onelook.tables import aligned

if TYPE_CHECKING:
    from onelook.calibration.calibrate import Calibration
    from onelook.verifier import Verifier

REPORT_FILE = "calibration.html"
Unseen = Annotated[
    str | None,
    option(
        "--data SOURCE",
        "A folder of CLASS/IMAGE, a pair file or a known source, of classes that "
        "the model was neither trained nor tested on [default: what its own training "
        "held out]",
    ),
]
GroupBy = Annotated[
    str | None,
    option(
        "--group-by folder|FILE",
        "Errors by group: the folder above the class folder, or a CSV file of "
        "NAME,GROUP lines",
    ),
]


@app.command(epilog=example("onelook calibrate runs/mine --data new-photos/ --far 0.001"))
def calibrate(
    named: Annotated[str | None, argument("MODEL", options.MODEL_HELP)] = None,
    model: options.ModelToo = None,
    data: Unseen = None,
    far: Annotated[
        float, option("--far RATE", "False-accept rate; it needs 30 / FAR different pairs")
    ] = 0.01,
    prior: Annotated[
        float, option("--prior SHARE", "Share of same pairs where the model will be used")
    ] = 0.5,
    group_by: GroupBy = None,
    check: Annotated[
        bool, option("--check", "Only say whether the stored threshold still holds")
    ] = False,
    cohort: options.Beside = None,
    out: Annotated[
        Path | None, option("--out -o FOLDER", "Where to write [default: MODEL itself]")
    ] = None,
    part: Annotated[
        str, option("--part NAME", "Part of a known source, such as evaluation or DevTest")
    ] = "",
    root: options.Root = None,
    depth: options.Depth = None,
    same: options.Same = None,
    seed: Annotated[int, option("--seed N", "Seed of every random draw")] = 0,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Fit what scores mean: threshold, probability, galleries.

    The decision is written into the model's folder, with a report: calibration.html. With
    --cohort the images are stored too; without --data the decision then stays as it is.
    """
    from onelook.calibration.calibrate import calibrate as fit
    from onelook.calibration.calibrate import save_decision
    from onelook.calibration.check import check as check_threshold
    from onelook.evaluation.unseen import DataChoice
    from onelook.loading import load

    model = named_model(named, model)
    verifier = load(model)
    verifier.shows_progress = True
    source = DataChoice(data, part, root, depth, same)
    if check:
        verifier = verifier if cohort is None else beside(verifier, cohort)
        if data is None:
            raise typer.BadParameter("name fresh data to check on", param_hint="--data")
        drift = check_threshold(verifier, source, group_by=group_by, seed=seed)
        return print_result(drift, as_json)
    folder = written_folder(model, out)
    if cohort is not None and data is None:
        return _store(beside(verifier, cohort), folder, as_json)
    found = fit(verifier, source, far=far, prior=prior, group_by=group_by, seed=seed)
    saved = save_decision(model, found, folder)
    if cohort is not None:
        beside(load(saved), cohort).save(saved)
    report = _report(verifier, found, folder / REPORT_FILE)
    if as_json:
        return print_json(found.to_dict() | {"model": str(folder), "report": report})
    print(found)
    say(f"model: {folder}" + (f"\nreport: {report}" if report else ""))


def _report(verifier: "Verifier", found: "Calibration", file: Path) -> str:
    """Where the report is; "" without what writes one: the decision needs none."""
    from onelook.errors import MissingExtraError
    from onelook.report.inputs import calibration_inputs
    from onelook.report.page import write_report

    try:
        return str(write_report(calibration_inputs(verifier, found), file))
    except MissingExtraError as missing:
        say(f"no report: {missing}")
        return ""


def _store(verifier: "Verifier", folder: Path, as_json: bool) -> None:
    """Write a model with its cohort, and say what it answers by."""
    decision = verifier.decision
    verifier.save(folder)
    by: dict[str, Any] = {"cohort": verifier.normalised_by, "model": str(folder)}
    if decision is not None:
        by |= {"threshold": decision.threshold, "far": decision.far}
    rows = [("cohort", verifier.normalised_by), ("model", str(folder))]
    if decision is not None:
        rows.append(("threshold", f"score {decision.threshold:.4f}"))
        rows.append(("false-accept rate", f"{decision.far:g}"))
    print_either(by, aligned(rows), as_json)
