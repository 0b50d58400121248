"""The command that fits or checks a decision: calibrate."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.shared import (
    MODEL_HELP,
    Depth,
    Json,
    ModelToo,
    Root,
    Same,
    Threads,
    app,
    example,
    fail,
    named_model,
    print_json,
    say,
)

REPORT_FILE = "calibration.html"


@app.command(epilog=example("onelook calibrate runs/mine --data new-photos/ --far 0.001"))
def calibrate(
    argument: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP)
    ] = None,
    model: ModelToo = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SOURCE",
            help="A folder of CLASS/IMAGE, a pair file or a known source, of classes that "
            "the model was neither trained nor tested on [default: what its own training "
            "held out]",
        ),
    ] = None,
    far: Annotated[
        float,
        typer.Option(
            metavar="RATE", help="False-accept rate; it needs 30 / FAR different pairs"
        ),
    ] = 0.01,
    prior: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Share of same pairs where the model will be used"
        ),
    ] = 0.5,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="folder|FILE",
            help="Errors by group: the folder above the class folder, or a CSV file of "
            "NAME,GROUP lines",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say whether the stored threshold still holds"),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Where to write [default: MODEL itself]"
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Part of a known source, such as evaluation or DevTest"
        ),
    ] = "",
    root: Root = None,
    depth: Depth = None,
    same: Same = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of every random draw")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Fit what scores mean: threshold, probability, galleries.

    The decision is written into the model's folder, with a report: calibration.html.
    """
    from onelook.calibration.calibrate import calibrate as fit
    from onelook.calibration.calibrate import save_decision
    from onelook.calibration.check import check as check_threshold
    from onelook.evaluation.unseen import DataChoice
    from onelook.report.inputs import calibration_inputs
    from onelook.report.page import write_report
    from onelook.verifier import load

    model = named_model(argument, model)
    verifier = load(model)
    source = DataChoice(data, part, root, depth, same)
    if check:
        if data is None:
            raise typer.BadParameter("name fresh data to check on", param_hint="--data")
        drift = check_threshold(verifier, source, group_by=group_by, seed=seed)
        return print_json(drift.to_dict()) if as_json else print(drift)
    folder = _folder(model, out)
    found = fit(verifier, source, far=far, prior=prior, group_by=group_by, seed=seed)
    save_decision(model, found, folder)
    report = write_report(calibration_inputs(verifier, found), folder / REPORT_FILE)
    if as_json:
        return print_json(found.to_dict() | {"model": str(folder), "report": str(report)})
    print(found)
    say(f"model: {folder}\nreport: {report}")


def _folder(model: str, out: Path | None) -> Path:
    """Where the decision goes; shipped models stay as they are."""
    from onelook.zoo import SETTINGS_FILE

    if out is not None:
        return out
    folder = Path(model).expanduser()
    if not (folder / SETTINGS_FILE).is_file():
        fail(
            f"{model} ships with onelook and stays as it is; --out FOLDER writes a copy "
            "with the new decision"
        )
    return folder
