"""Commands of the service: serve, and token for those who may use it."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from onelook.cli import options
from onelook.cli.gallery import open_gallery
from onelook.cli.options import argument, option
from onelook.cli.printing import print_json, print_rows, say
from onelook.cli.shared import app, example, load_model
from onelook.extras import import_extra

TOKENS_HELP = "File of tokens (see onelook token); without it no request needs a token"


@app.command(epilog=example("onelook serve --model faces --gallery people.db"))
def serve(
    gallery: Annotated[str | None, option("--gallery -g URL", options.GALLERY_HELP)] = None,
    model: options.GalleryModel = None,
    host: Annotated[
        str,
        option(
            "--host ADDRESS",
            "Address to bind to; all but this machine's loopback require tokens",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, option("--port N", "0 takes a free port", least=0, most=65535)
    ] = 8000,
    token_file: Annotated[Path | None, option("--token-file FILE", TOKENS_HELP)] = None,
    read_only: Annotated[
        bool, option("--read-only", "Enroll, rename and forget nothing")
    ] = False,
    cors: Annotated[
        list[str] | None,
        option("--cors ORIGIN", "Origin whose web pages may send requests, https://…"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        option("--allow-host NAME", "Another name of this service, behind a proxy"),
    ] = None,
    max_mb: Annotated[
        int, option("--max-mb N", "MiB of one request, at most", least=1)
    ] = 32,
    max_megapixels: Annotated[
        int, option("--max-megapixels N", "Megapixels of one image, at most", least=1)
    ] = 40,
    max_images: Annotated[
        int, option("--max-images N", "Images of one request, at most", least=1)
    ] = 32,
    max_waiting: Annotated[
        int, option("--max-waiting N", "Images that may wait; then 503", least=1)
    ] = 256,
    on_device: Annotated[
        bool,
        option(
            "--on-device",
            "Serve a page, too, that answers in the browser: all who reach it can get the "
            "model; fetches ONNX Runtime Web once (33 MB)",
        ),
    ] = False,
    threads: options.Threads = None,
    device: options.Device = None,
) -> None:
    """Answer over HTTP, with a page for people.

    onelook -v serve logs a line for each request.
    """
    import_extra("fastapi", "serve", "onelook serve")
    from onelook.gallery.store import redact_url
    from onelook.gallery.stores import store_exists
    from onelook.service.app import create_app
    from onelook.service.server import check_address, hosts_of, limit_threads
    from onelook.service.server import serve as run
    from onelook.service.settings import ServiceSettings
    from onelook.service.tokens import Tokens

    tokens = None if token_file is None else Tokens(token_file)
    check_address(host, tokens)
    limit_threads()
    opened = None if gallery is None else open_gallery(gallery, model, make=True)
    verifier = load_model(model) if opened is None else opened.verifier
    settings = ServiceSettings(
        max_bytes=max_mb << 20,
        max_pixels=max_megapixels * 1_000_000,
        max_images=max_images,
        max_waiting=max_waiting,
        tokens=tokens,
        read_only=read_only,
        hosts=hosts_of(host, tuple(allow_host or ())),
        cors=tuple(cors or ()),
        card_text=_card_text(str(verifier.folder or verifier.name)),
    )
    kept = f"gallery {redact_url(gallery)}" if gallery else "no gallery (see --gallery)"
    if gallery and not store_exists(gallery):
        kept += ", which the first enrolment makes"
    with ExitStack() as stack:
        if opened is not None:
            stack.enter_context(opened)
        if on_device:
            from onelook.page import write_page

            folder = Path(stack.enter_context(TemporaryDirectory(prefix="onelook-page-")))
            write_page(verifier, folder)
            settings = replace(settings, on_device=folder)
        service = create_app(verifier, opened, settings)
        facts = f"{verifier.name}, {kept}"
        run(service, host, port, lambda url: say(f"{facts}: {url}\nstop it with Ctrl-C"))


def _card_text(model: str) -> str:
    """The model card beside the weights, if there is one."""
    from onelook.zoo import folder_of

    card = folder_of(model) / "README.md"
    return card.read_text("utf-8") if card.is_file() else ""


@app.command(epilog=example("onelook token tokens.json --name till-3 --write"))
def token(
    file: Annotated[Path, argument("FILE", "File of tokens, made where needed")],
    name: Annotated[str | None, option("--name NAME", "Make a token of this name")] = None,
    write: Annotated[
        bool, option("--write", "Let the token enroll, rename and forget")
    ] = False,
    revoke: Annotated[
        str | None, option("--revoke NAME", "Revoke the token of this name")
    ] = None,
    as_json: options.Json = False,
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
