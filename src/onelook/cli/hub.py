"""The commands for the Hugging Face hub: fetch and push."""

from typing import Annotated

import typer

from onelook.cli import options
from onelook.cli.options import argument
from onelook.cli.printing import print_either
from onelook.cli.shared import app, example


@app.command(epilog=example("onelook fetch dinov2-small"))
def fetch(
    name: Annotated[
        str,
        argument("NAME", "A name of onelook models, or hf-hub:ORG/NAME[@REVISION]"),
    ],
    as_json: options.Json = False,
) -> None:
    """Fetch a model from the Hugging Face hub into the cache.

    What was fetched before is compared with the hub: a changed revision is refused.
    """
    from onelook.hub import fetch as fetch_model
    from onelook.loading import load

    folder = fetch_model(name)
    decided = load(name).decision is not None
    text = f"{name} is ready: --model {name}"
    if not decided:
        text += (
            "\nIt gives scores, no verdicts. Fit thresholds: "
            f"onelook calibrate {name} --data FOLDER --out mine"
        )
    found = {"model": name, "folder": str(folder), "has_decision": decided}
    print_either(found, text, as_json)


@app.command(epilog=example("onelook push runs/mine my-name/products"))
def push(
    model: Annotated[str, argument("MODEL", options.MODEL_HELP)],
    repository: Annotated[str, argument("ORG/NAME", "The repository, made if need be")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a new repository")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put a model folder on the Hugging Face hub; log in first: hf auth login."""
    from onelook.hub import push as push_model

    address = push_model(model, repository, public=public)
    print_either({"address": address}, f"pushed: --model {address}", as_json)
