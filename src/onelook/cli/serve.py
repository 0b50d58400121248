"""Commands of the service: serve, and token for those who may use it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.shared import (
    MODEL_HELP,
    Json,
    app,
    example,
    load_model,
    print_json,
    print_rows,
    say,
)

if TYPE_CHECKING:
    from onelook.verifier import Verifier

TOKENS_HELP = "File of tokens (see onelook token); without one everybody may ask"


@app.command(epilog=example("onelook serve omniglot --gallery gallery.db"))
def serve(
    model: Annotated[
        str | None,
        typer.Argument(help=f"{MODEL_HELP} [default: omniglot, for drawings]"),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option("--gallery", "-g", help="A file, postgresql://… or milvus://…"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback need tokens")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help=TOKENS_HELP)
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Enroll, rename and forget nothing")
    ] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Origin whose web pages may ask, https://…"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Another name of this service, behind a proxy"),
    ] = None,
    max_mb: Annotated[
        int, typer.Option("--max-mb", min=1, help="Largest request, in MiB")
    ] = 32,
    max_megapixels: Annotated[
        int, typer.Option("--max-megapixels", min=1, help="Largest image")
    ] = 40,
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, help="Images of one request")
    ] = 32,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, help="Images that may wait; then 503")
    ] = 256,
) -> None:
    """Answer over HTTP, with a page for people; -v logs each request."""
    from onelook.gallery.gallery import Gallery
    from onelook.service.app import create_app
    from onelook.service.server import check_address, hosts_of, limit_threads
    from onelook.service.server import serve as run
    from onelook.service.settings import ServiceSettings
    from onelook.service.tokens import Tokens

    tokens = None if token_file is None else Tokens(token_file)
    check_address(host, tokens)
    limit_threads()
    verifier = load_model(model)
    settings = ServiceSettings(
        max_bytes=max_mb << 20,
        max_pixels=max_megapixels * 1_000_000,
        max_images=max_images,
        max_waiting=max_waiting,
        tokens=tokens,
        read_only=read_only,
        hosts=hosts_of(host, tuple(allow_host or ())),
        cors=tuple(cors or ()),
        card_text=_card_text(model),
    )
    opened = None if gallery is None else Gallery(verifier, gallery)
    try:
        service = create_app(verifier, opened, settings)
        run(service, host, port, lambda url: _started(verifier, gallery, url))
    finally:
        if opened is not None:
            opened.close()


def _started(verifier: "Verifier", gallery: str | None, url: str) -> None:
    from onelook.gallery.store import redact_url

    none = "no gallery (--gallery FILE keeps one)"
    kept = none if gallery is None else f"gallery {redact_url(gallery)}"
    say(f"{verifier.name}, {kept}: {url}\nstop it with Ctrl-C")


def _card_text(model: str | None) -> str:
    """The model card that lies beside the weights, if there is one."""
    from onelook.shipped import DEFAULT_MODEL, shipped_folder

    name = model or DEFAULT_MODEL
    folder = Path(name).expanduser()
    if not (folder / "model.json").is_file():
        folder = shipped_folder(name) or folder
    card = folder / "README.md"
    return card.read_text("utf-8") if card.is_file() else ""


@app.command(epilog=example("onelook token tokens.json --name till-3 --write"))
def token(
    file: Annotated[Path, typer.Argument(help="File of tokens; made if it is not there")],
    name: Annotated[
        str | None, typer.Option("--name", help="Make a token of this name")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="It may enroll and forget, not only ask")
    ] = False,
    revoke: Annotated[
        str | None, typer.Option("--revoke", help="End the token of this name")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make, list or revoke tokens of the service; only their hashes are kept."""
    from onelook.service.tokens import add_token, read_tokens, revoke_token

    if name is not None and revoke is not None:
        raise typer.BadParameter("make or revoke, not both", param_hint="--revoke")
    if name is not None:
        secret = add_token(file, name, write)
        if as_json:
            return print_json({"name": name, "may_write": write, "token": secret})
        say("the token, which cannot be shown again:")
        print(secret)
        return
    if revoke is not None:
        revoke_token(file, revoke)
        say(f"{revoke} may not ask any more")
    rows = {
        one.name: f"{'reads and writes' if one.may_write else 'reads'}, {one.created}"
        for one in read_tokens(file)
    }
    if as_json:
        return print_json(rows)
    print_rows(rows or {"no tokens": "onelook token FILE --name NAME"}, as_json)
