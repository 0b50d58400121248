"""Commands of the service: serve, and token for those who may use it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.gallery import gallery_model
from onelook.cli.shared import (
    GALLERY_HELP,
    GalleryModel,
    Json,
    Threads,
    app,
    example,
    load_model,
    print_json,
    print_rows,
    say,
)

if TYPE_CHECKING:
    from onelook.verifier import Verifier

TOKENS_HELP = "File of tokens (see onelook token); without it no request needs a token"


@app.command(epilog=example("onelook serve --model faces --gallery people.db"))
def serve(
    gallery: Annotated[
        str | None, typer.Option("--gallery", "-g", metavar="URL", help=GALLERY_HELP)
    ] = None,
    model: GalleryModel = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to bind to; all but this machine's loopback require tokens",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free port")
    ] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help=TOKENS_HELP)
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Enroll, rename and forget nothing")
    ] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Origin whose web pages may send requests, https://…"
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of this service, behind a proxy"),
    ] = None,
    max_mb: Annotated[
        int, typer.Option(metavar="N", min=1, help="MiB of one request, at most")
    ] = 32,
    max_megapixels: Annotated[
        int, typer.Option(metavar="N", min=1, help="Megapixels of one image, at most")
    ] = 40,
    max_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images of one request, at most")
    ] = 32,
    max_waiting: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images that may wait; then 503")
    ] = 256,
    threads: Threads = None,
) -> None:
    """Answer over HTTP, with a page for people.

    onelook -v serve logs a line for each request.
    """
    from onelook.gallery.gallery import Gallery
    from onelook.service.app import create_app
    from onelook.service.server import check_address, hosts_of, limit_threads
    from onelook.service.server import serve as run
    from onelook.service.settings import ServiceSettings
    from onelook.service.tokens import Tokens

    tokens = None if token_file is None else Tokens(token_file)
    check_address(host, tokens)
    limit_threads()
    if gallery is not None:
        model = gallery_model(gallery, model)
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
    """The model card beside the weights, if there is one."""
    from onelook.zoo import DEFAULT_MODEL, folder_of

    card = folder_of(model or DEFAULT_MODEL) / "README.md"
    return card.read_text("utf-8") if card.is_file() else ""


@app.command(epilog=example("onelook token tokens.json --name till-3 --write"))
def token(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File of tokens, made where needed")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Make a token of this name")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Let the token enroll, rename and forget")
    ] = False,
    revoke: Annotated[
        str | None,
        typer.Option("--revoke", metavar="NAME", help="Revoke the token of this name"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make, list or revoke tokens of the service.

    Only salted hashes of the tokens are kept.
    """
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
        say(f"{revoke}: revoked")
    rows = {
        one.name: f"{'reads and writes' if one.may_write else 'reads'}, {one.created}"
        for one in read_tokens(file)
    }
    if as_json:
        return print_json(rows)
    print_rows(rows or {"no tokens": "onelook token FILE --name NAME"}, as_json)
