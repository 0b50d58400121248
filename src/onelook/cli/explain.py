"""Commands that point at places in pictures: explain, find."""

from pathlib import Path
from typing import Annotated

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import print_json, print_result, print_text, say
from onelook.cli.shared import app, check_files, example, load_model


@app.command(epilog=example("onelook explain a.png b.png --out why.png"))
def explain(
    left: Annotated[str, argument("A", "An image")],
    right: Annotated[str, argument("B", "The image to compare it with")],
    out: Annotated[Path, option("--out -o FILE", "The drawing, e.g. why.png")],
    model: options.Model = None,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Draw which parts make two images alike or different."""
    check_files([left, right], model)
    from onelook.explain import draw_explanation
    from onelook.explain import explain as explain_pair
    from onelook.report.pictures import check_ending

    check_ending(out)
    explanation = explain_pair(load_model(model, paths=[left, right]), left, right)
    draw_explanation(explanation, out)
    if as_json:
        print_json({**explanation.comparison.to_dict(), "out": str(out)})
    else:
        print_text(explanation.comparison)
        say(f"picture: {out}")


@app.command(epilog=example("onelook find one.png sheet.png --out found.png"))
def find(
    query: Annotated[str, argument("A", "An image of the one thing")],
    picture: Annotated[str, argument("PICTURE", "The picture to search in")],
    out: Annotated[
        Path | None, option("--out -o FILE", "Draw the boxes found, e.g. found.png")
    ] = None,
    model: options.Model = None,
    cohort: options.Beside = None,
    k: options.Most = 5,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Say whether, and where, a picture shows a person or thing.

    Models of faces compare every face, models of drawings every group of strokes, others
    windows of several sizes.
    """
    check_files([query, picture], model)
    from onelook.find import draw_findings
    from onelook.find import find as find_in
    from onelook.report.pictures import check_ending

    if out is not None:
        check_ending(out)
    findings = find_in(load_model(model, cohort, [query]), query, picture, k)
    print_result(findings, as_json)
    if out is not None:
        draw_findings(findings, out)
        say(f"picture: {out}")
