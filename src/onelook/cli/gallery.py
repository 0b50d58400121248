"""Commands of a gallery: enroll, identify, forget, and what keeps galleries in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.shared import (
    GALLERY_HELP,
    GalleryModel,
    Json,
    Model,
    Most,
    SkipBad,
    Threads,
    app,
    check_files,
    example,
    load_model,
    print_json,
    say,
)

if TYPE_CHECKING:
    from onelook.gallery.answers import Identification
    from onelook.gallery.gallery import Gallery
    from onelook.gallery.moving import Moved

Url = Annotated[str, typer.Option("--gallery", "-g", metavar="URL", help=GALLERY_HELP)]
UrlArgument = Annotated[str, typer.Argument(metavar="GALLERY", help=GALLERY_HELP)]

galleries = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look into galleries, copy them, move them to another model.",
)
app.add_typer(galleries, name="gallery")


@app.command(epilog=example("onelook enroll people/ --gallery people.db --model faces"))
def enroll(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Images, or folders or archives of IDENTITY/IMAGE"
        ),
    ],
    gallery: Url,
    model: GalleryModel = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="Who it is [default: the folder or file name]"
        ),
    ] = None,
    at_most: Annotated[
        int | None,
        typer.Option(
            "--first", min=1, metavar="N", help="Only the first N images of each identity"
        ),
    ] = None,
    notes: Annotated[
        list[str] | None,
        typer.Option("--note", metavar="KEY=VALUE", help="Kept with the images"),
    ] = None,
    keep_originals: Annotated[
        bool, typer.Option("--keep-originals", help="Keep the image files too")
    ] = False,
    skip_bad: SkipBad = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Add images of identities to a gallery.

    The gallery is made where it does not exist.
    """
    from onelook.gallery.folders import enroll_files

    metadata = dict(_note(text) for text in notes or [])
    with _kept_when_stopped(), _made(gallery, model, keep_originals) as opened:
        result = enroll_files(
            opened,
            paths,
            identity=identity,
            metadata=metadata,
            at_most=at_most,
            skip_bad=skip_bad,
        )
    for address, reason in result.bad:
        say(f"skipped {address}: {reason}")
    if as_json:
        return print_json(result.to_dict())
    print(result)


@contextmanager
def _kept_when_stopped() -> Iterator[None]:
    """After Ctrl-C, say that nothing is lost and how to go on; exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; what was enrolled is kept: the same command again goes on")
        raise typer.Exit(130) from None


def _note(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"expected KEY=VALUE, got {text!r}", param_hint="--note")
    return key, value


@app.command(epilog=example("onelook identify who.jpg --gallery people.db --model faces"))
def identify(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Images; with --check a folder or archive"),
    ],
    gallery: Url,
    model: GalleryModel = None,
    k: Most = 5,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Identify a folder of IDENTITY/IMAGE and count how often that is right",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Draw the matches of one image: who.png",
        ),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Say who images show: an identity of the gallery, or unknown."""
    if check and (len(paths) > 1 or out):
        raise typer.BadParameter("takes one folder and no picture", param_hint="--check")
    if out and len(paths) > 1:
        raise typer.BadParameter("draws the matches of one image", param_hint="--out")
    check_files(paths, model)
    with _opened(gallery, model) as opened:
        if check:
            return _check(opened, paths[0], as_json)
        answers = opened.identify_many(paths, k)
        if out is not None:
            _draw(opened, paths[0], answers[0], out)
    if as_json:
        rows = [{"path": p, **a.to_dict()} for p, a in zip(paths, answers, strict=True)]
        return print_json(rows[0] if len(rows) == 1 else rows)
    for path, answer in zip(paths, answers, strict=True):
        print(answer if len(paths) == 1 else f"{path}  {answer}")
    if len(paths) == 1:
        for match in answers[0].matches:
            probability = "" if match.probability is None else f"{match.probability:9.4f}"
            print(f"  {match.score:9.4f}{probability}  {match.identity}")


def _check(gallery: "Gallery", folder: str, as_json: bool) -> None:
    from onelook.gallery.folders import check_folder

    result, answers = check_folder(gallery, folder)
    if not as_json:
        return print(result)
    rows = [
        {"identity": who, "path": address, "answer": answer.to_dict()}
        for who, address, answer in answers
    ]
    print_json({**result.to_dict(), "images": rows})


def _draw(gallery: "Gallery", path: str, answer: "Identification", out: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    from onelook.data.inputs.decoding import picture_of
    from onelook.report.pictures import draw_comparison

    pictures, captions = [], []
    for match in answer.matches:
        entry = gallery.entry(match.entry)
        if entry.thumbnail is None:
            continue
        pictures.append(np.asarray(Image.open(io.BytesIO(entry.thumbnail))))
        captions.append(f"{match.identity}\nscore {match.score:.4f}")
    if not pictures:
        return say("no picture: the gallery holds no thumbnails of the matches")
    name = f"{Path(path).name}\n{answer.identity or answer.verdict}"
    draw_comparison(picture_of(path), pictures, captions, out, query_caption=name)
    say(f"picture: {out}")


@app.command(epilog=example("onelook forget Ada --gallery people.db"))
def forget(
    identity: Annotated[str, typer.Argument(metavar="NAME", help="Who is forgotten")],
    gallery: Url,
    as_json: Json = False,
) -> None:
    """Remove an identity from a gallery, from disk too."""
    from onelook.gallery.store import forget_identity
    from onelook.gallery.stores import opened

    with opened(gallery) as store:
        n = forget_identity(store, identity)
    if as_json:
        return print_json({"identity": identity, "forgotten": n})
    print(f"{identity}: {n:,} images forgotten")


@galleries.command("list", epilog=example("onelook gallery list people.db"))
def list_identities(gallery: UrlArgument, as_json: Json = False) -> None:
    """Who is in a gallery, and with how many images."""
    from onelook.gallery.stores import opened

    with opened(gallery) as store:
        identities = store.identities()
    if as_json:
        return print_json(identities)
    for identity, n in identities.items():
        print(f"{n:7,}  {identity}")


@galleries.command(epilog=example("onelook gallery stats people.db"))
def stats(gallery: UrlArgument, as_json: Json = False) -> None:
    """How large a gallery is, of which model, and how it searches."""
    from dataclasses import asdict

    from onelook.gallery.stores import opened

    with opened(gallery) as store:
        facts = {**asdict(store.stats()), **asdict(store.header)}
    if as_json:
        return print_json(facts)
    for name, value in facts.items():
        print(f"{name.removeprefix('n_'):15} {value}")


@galleries.command(epilog=example("onelook gallery rename people.db Ada 'Ada Lovelace'"))
def rename(
    gallery: UrlArgument,
    identity: Annotated[str, typer.Argument(metavar="NAME", help="Who it is now")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Who it will be")],
    as_json: Json = False,
) -> None:
    """Give an identity another name, or join it to one that is there."""
    from onelook.gallery.store import rename_identity
    from onelook.gallery.stores import opened

    with opened(gallery) as store:
        n = rename_identity(store, identity, new)
    if as_json:
        return print_json({"identity": new, "images": n})
    print(f"{n:,} images of {identity} are now {new}")


@galleries.command(epilog=example("onelook gallery copy people.db postgresql://db/people"))
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=GALLERY_HELP)],
    target: Annotated[str, typer.Argument(metavar="TO", help=GALLERY_HELP)],
    as_json: Json = False,
) -> None:
    """Copy a gallery to another store; run it again to go on after a stop."""
    from onelook.gallery.moving import copy as run

    moved = run(source, target)
    _print_moved(moved, target, as_json)


@galleries.command(
    epilog=example("onelook gallery migrate old.db new.db --model runs/better")
)
def migrate(
    source: Annotated[str, typer.Argument(metavar="FROM", help=GALLERY_HELP)],
    target: Annotated[str, typer.Argument(metavar="TO", help=GALLERY_HELP)],
    model: Model = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Embed a gallery again with another model, from originals or thumbnails."""
    from onelook.gallery.moving import migrate as run

    moved = run(load_model(model), source, target)
    for identity, entry in moved.left_behind:
        say(f"left behind: image {entry} of {identity} has neither original nor thumbnail")
    _print_moved(moved, target, as_json)


@galleries.command(
    "import", epilog=example("onelook gallery import people.db vectors.parquet")
)
def import_embeddings(
    gallery: UrlArgument,
    vectors: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=".parquet or .npz that onelook embed wrote"),
    ],
    model: GalleryModel = None,
    as_json: Json = False,
) -> None:
    """Enroll embeddings without images; the folder in a path is the identity."""
    from onelook.gallery.moving import import_vectors

    with _made(gallery, model) as opened:
        moved = import_vectors(opened, vectors)
    _print_moved(moved, gallery, as_json)


@galleries.command(epilog=example("onelook gallery maintain people.db"))
def maintain(gallery: UrlArgument, as_json: Json = False) -> None:
    """Keep a gallery quick: rebuild its index, compact its file."""
    from onelook.gallery.stores import opened

    with opened(gallery) as store:
        store.maintain()
        search = store.stats().search
    print_json({"search": search}) if as_json else print(f"{gallery}: {search}")


def _opened(url: str, model: str | None) -> "Gallery":
    """An existing gallery: a wrong name makes none."""
    from onelook.gallery.gallery import Gallery

    return Gallery(load_model(gallery_model(url, model, make=False)), url)


def _made(url: str, model: str | None, keep_originals: bool = False) -> "Gallery":
    """A gallery, which is made where it does not exist."""
    from onelook.gallery.gallery import Gallery

    verifier = load_model(gallery_model(url, model))
    return Gallery(verifier, url, keep_originals=keep_originals)


def gallery_model(url: str, model: str | None, *, make: bool = True) -> str | None:
    """The model to open a gallery with: the one that is named, or the gallery's own.

    Args:
        url: The gallery.
        model: The model that the command line names, if any.
        make: Whether the gallery may be missing.

    Raises:
        GalleryError: If no model is named and the gallery's own does not ship.
    """
    from onelook.errors import GalleryError
    from onelook.gallery.store import redact_url
    from onelook.gallery.stores import opened, store_exists
    from onelook.zoo import shipped_names

    if make and (model is not None or not store_exists(url)):
        return model
    with opened(url) as store:
        own = store.header.model
    if model is None and own not in shipped_names():
        raise GalleryError(
            f"{redact_url(url)} was made with the model {own!r}; name its folder with "
            "--model"
        )
    return model or own


def _print_moved(moved: "Moved", target: str, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        return print_json(asdict(moved))
    known = f", {moved.n_known:,} were there already" if moved.n_known else ""
    print(f"{moved.n_moved:,} images are new in {target}{known}")
