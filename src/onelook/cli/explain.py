"""Commands that show where an answer comes from: explain."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.shared import Json, Model, app, example, load_model, print_json, say


@app.command(epilog=example("onelook explain a.png b.png --out why.png"))
def explain(
    left: Annotated[str, typer.Argument(metavar="A", help="An image")],
    right: Annotated[str, typer.Argument(metavar="B", help="The image to compare it with")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The drawing, e.g. why.png"),
    ],
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Draw what made two images alike, and what told them apart."""
    from onelook.explain import draw_explanation
    from onelook.explain import explain as explain_pair
    from onelook.pictures import check_ending

    check_ending(out)
    explanation = explain_pair(load_model(model), left, right)
    draw_explanation(explanation, out)
    if as_json:
        print_json({**explanation.comparison.to_dict(), "out": str(out)})
    else:
        print(explanation.comparison)
        say(f"picture: {out}")
