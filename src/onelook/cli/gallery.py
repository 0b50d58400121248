"""Commands of a gallery: enroll, identify, forget, and what keeps galleries in order."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from onelook.cli import options
from onelook.cli.options import argument, option
from onelook.cli.printing import (
    fail,
    print_either,
    print_json,
    print_result,
    print_text,
    say,
    say_listed,
)
from onelook.cli.shared import app, check_files, example, key_and_value, load_model
from onelook.tables import counted

if TYPE_CHECKING:
    from onelook.gallery.answers import Identification
    from onelook.gallery.gallery import Gallery
    from onelook.gallery.moving import Moved
    from onelook.gallery.store import GalleryStore
    from onelook.several import Seen

galleries = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look into galleries, copy them, move them to another model.",
)
app.add_typer(galleries, name="gallery")

Answer = TypeVar("Answer")
GALLERY_ENDINGS = (".db", ".sqlite", ".sqlite3", "")  # of files that enroll makes


@app.command(epilog=example("onelook enroll people/ --gallery people.db --model faces"))
def enroll(
    gallery: options.GalleryOption,
    paths: Annotated[
        list[str] | None,
        argument("PATH", "Images, or folders or archives of IDENTITY/IMAGE"),
    ] = None,
    model: options.GalleryModel = None,
    identity: Annotated[
        str | None, option("--as NAME", "Who it is [default: the folder or file name]")
    ] = None,
    at_most: Annotated[
        int | None, option("--first N", "Only the first N images of each identity", least=1)
    ] = None,
    notes: Annotated[
        list[str] | None, option("--note KEY=VALUE", "Kept with the images")
    ] = None,
    keep_originals: Annotated[
        bool, option("--keep-originals", "Keep the image files too")
    ] = False,
    vectors: options.Vectors = None,
    skip_bad: options.SkipBad = False,
    strict: Annotated[
        bool, option("--strict", "Refuse images that are too small, blank, blurred or odd")
    ] = False,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Add images of identities to a gallery.

    The gallery is made where it does not exist.
    """
    from onelook.gallery.folders import enroll_files

    given = (paths, identity, at_most, notes, keep_originals, strict)
    if vectors is not None:
        if any(given):
            raise typer.BadParameter(
                "takes no images and nothing about them", param_hint="--vectors"
            )
        return _enroll_vectors(gallery, vectors, model, as_json)
    if not paths:
        raise typer.BadParameter("name images, or --vectors", param_hint="PATH")
    metadata = dict(key_and_value(text, "--note") for text in notes or [])
    try:
        with open_gallery(
            gallery, model, make=True, keep_originals=keep_originals, paths=paths
        ) as opened:
            result = enroll_files(
                opened,
                paths,
                identity=identity,
                metadata=metadata,
                at_most=at_most,
                skip_bad=skip_bad,
                strict=strict,
            )
    except KeyboardInterrupt:
        say("stopped; what was enrolled is kept: the same command again goes on")
        raise typer.Exit(130) from None
    say_listed("skipped", result.bad)
    say_listed("enrolled, but a poor example:", result.warnings)
    print_result(result, as_json)


@app.command(epilog=example("onelook identify who.jpg --gallery people.db --model faces"))
def identify(
    paths: Annotated[list[str], argument("PATH", "Images, or folders or archives of them")],
    gallery: options.GalleryOption,
    model: options.GalleryModel = None,
    k: options.Most = 5,
    check: Annotated[
        bool,
        option(
            "--check",
            "Identify a folder of IDENTITY/IMAGE and count how often that is right",
        ),
    ] = False,
    faces: options.Faces = None,
    out: Annotated[
        Path | None,
        option("--out -o FILE", "Draw the matches of one image, or its faces: who.png"),
    ] = None,
    skip_bad: options.SkipBad = False,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Say who images show: an identity of the gallery, or unknown."""
    from onelook.data.archives import addresses_of, holds_files

    is_one = len(paths) == 1 and not holds_files(paths[0])
    if check and (len(paths) > 1 or out or faces):
        raise typer.BadParameter("takes one folder and no picture", param_hint="--check")
    if out and not is_one:
        raise typer.BadParameter("draws one image", param_hint="--out")
    if check and skip_bad:
        raise typer.BadParameter("counts every image", param_hint="--check")
    if not skip_bad:
        check_files(paths, model)
    with open_gallery(gallery, model) as opened:
        if check:
            return _check(opened, paths[0], as_json)
        paths = addresses_of(paths, opened.verifier.input.suffixes)
        if faces is not None:
            found = _identify_all(opened, paths, k, faces, skip_bad)
            return _show_all(found, paths[0], is_one, out, as_json)
        named, answers, bad = _each(
            paths, lambda some: opened.identify_many(some, k), skip_bad
        )
        if out is not None:
            _draw(opened, paths[0], answers[0], out)
    say_listed("skipped", bad)
    if as_json:
        rows = [{"path": p, **a.to_dict()} for p, a in zip(named, answers, strict=True)]
        return print_json(rows[0] if is_one else rows)
    for path, answer in zip(named, answers, strict=True):
        print_text(answer if is_one else f"{path}  {answer}")
    if is_one:
        for match in answers[0].matches:
            probability = "" if match.probability is None else f"{match.probability:9.4f}"
            print_text(f"  {match.score:9.4f}{probability}  {match.identity}")


def _each(
    paths: Sequence[str], ask: Callable[[Sequence[str]], Sequence[Answer]], skip_bad: bool
) -> tuple[tuple[str, ...], tuple[Answer, ...], list[tuple[str, str]]]:
    """The images that could be read, an answer for each, and the others with why."""
    from onelook.vectors import BLOCK, encode_files

    return encode_files(paths, ask, skip_bad, progress=len(paths) > BLOCK)


def _identify_all(
    gallery: "Gallery", paths: Sequence[str], k: int, most: int, skip_bad: bool
) -> "tuple[Seen, ...]":
    """Who is in pictures, an answer for each face."""
    from onelook.several import identify_all

    _, found, bad = _each(
        paths, lambda some: [identify_all(gallery, one, k, most) for one in some], skip_bad
    )
    say_listed("skipped", bad)
    return found


def _show_all(
    found: "Sequence[Seen]", path: str, is_one: bool, out: Path | None, as_json: bool
) -> None:
    """Print who is in pictures, and draw the names into the first."""
    from onelook.several import draw_seen

    if as_json:
        rows = [seen.to_dict() for seen in found]
        print_json(rows[0] if is_one else rows)
    for seen in () if as_json else found:
        print_text(seen if is_one else f"{seen.picture}\n{seen}")
    if out is not None:
        draw_seen(path, found[0], out)
        say(f"picture: {out}")


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
    identity: Annotated[str, argument("NAME", "Who is forgotten")],
    gallery: options.GalleryOption,
    as_json: options.Json = False,
) -> None:
    """Remove an identity from a gallery, from disk too."""
    from onelook.gallery.store import forget_identity

    with _store(gallery) as store:
        n = forget_identity(store, identity)
    answer = {"identity": identity, "forgotten": n}
    print_either(answer, f"{identity}: {counted(n, 'image')} forgotten", as_json)


@galleries.command("list", epilog=example("onelook gallery list people.db"))
def show(gallery: options.GalleryArgument, as_json: options.Json = False) -> None:
    """Who is in a gallery, and with how many images."""
    with _store(gallery) as store:
        identities = store.identities()
    if as_json:
        return print_json(identities)
    for identity, n in identities.items():
        print_text(f"{n:7,}  {identity}")


@galleries.command(epilog=example("onelook gallery stats people.db"))
def stats(gallery: options.GalleryArgument, as_json: options.Json = False) -> None:
    """How large a gallery is, how it searches, and what it answers by."""
    from onelook.gallery.place import read_place

    with _store(gallery) as store:
        facts = {**asdict(store.stats()), **asdict(store.header)}
        place = read_place(store)
    cohort = place.cohort
    facts["folder"] = place.folder
    facts["far"] = None if place.decision is None else place.decision.far
    facts["cohort"] = "" if cohort is None else f"{len(cohort):,} images: {cohort.name}"
    if as_json:
        return print_json(facts)
    for name, value in facts.items():
        print(f"{name.removeprefix('n_'):15} {value}")


@galleries.command(epilog=example("onelook gallery rename people.db Ada 'Ada Lovelace'"))
def rename(
    gallery: options.GalleryArgument,
    identity: Annotated[str, argument("NAME", "Who it is now")],
    new: Annotated[str, argument("NEW", "Who it will be")],
    as_json: options.Json = False,
) -> None:
    """Give an identity another name, or join it to one that is there."""
    from onelook.gallery.store import rename_identity

    with _store(gallery) as store:
        n = rename_identity(store, identity, new)
    answer = {"identity": new, "images": n}
    print_either(answer, f"{identity} is now {new} ({counted(n, 'image')})", as_json)


@galleries.command(epilog=example("onelook gallery copy people.db postgresql://db/people"))
def copy(
    source: Annotated[str, argument("FROM", options.GALLERY_HELP)],
    target: Annotated[str, argument("TO", options.GALLERY_HELP)],
    as_json: options.Json = False,
) -> None:
    """Copy a gallery to another store; run it again to go on after a stop."""
    from onelook.gallery.moving import copy as run

    _print_moved(run(source, target), target, as_json)


@galleries.command(
    epilog=example("onelook gallery migrate old.db new.db --model runs/better")
)
def migrate(
    source: Annotated[str, argument("FROM", options.GALLERY_HELP)],
    target: Annotated[str, argument("TO", options.GALLERY_HELP)],
    model: options.Model = None,
    threads: options.Threads = None,
    device: options.Device = None,
    as_json: options.Json = False,
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
    gallery: options.GalleryArgument,
    vectors: Annotated[Path, argument("FILE", "What onelook embed --out wrote")],
    model: options.GalleryModel = None,
    as_json: options.Json = False,
) -> None:
    """Enroll embeddings without images; the folder in a path is the identity."""
    _enroll_vectors(gallery, vectors, model, as_json)


def _enroll_vectors(gallery: str, vectors: Path, model: str | None, as_json: bool) -> None:
    from onelook.gallery.moving import import_vectors

    with open_gallery(gallery, model, make=True) as opened:
        moved = import_vectors(opened, vectors)
    _print_moved(moved, gallery, as_json)


@galleries.command(epilog=example("onelook gallery cohort people.db photographs/"))
def cohort(
    gallery: options.GalleryArgument,
    folder: Annotated[
        Path | None,
        argument("FOLDER", "Unlabelled images of the gallery's place, 20 or more"),
    ] = None,
    probes: Annotated[
        bool,
        option("--probes", "Learn from the last 1,000 probes; no image is kept"),
    ] = False,
    none: Annotated[bool, option("--none", "Answer by plain scores again")] = False,
    model: options.GalleryModel = None,
    as_json: options.Json = False,
) -> None:
    """Let a gallery answer beside unlabelled images of its place.

    Its stated rates then hold there. A service must be started again to do so.
    """
    if (folder is not None) + probes + none != 1:
        raise typer.BadParameter("name a folder, --probes or --none", param_hint="FOLDER")
    with open_gallery(gallery, model) as opened:
        if probes:
            opened.learn_from_probes()
        else:
            opened.use_cohort(folder)
        found = opened.verifier
    for note in () if found.cohort is None else found.cohort.notes:
        say(f"cohort {folder}: {note}")
    text = found.normalised_by or "plain scores"
    text += ", until 20 probes are known" if probes else ""
    print_either({"cohort": found.normalised_by}, f"{gallery}: {text}", as_json)


@galleries.command(epilog=example("onelook gallery check people.db"))
def check(gallery: options.GalleryArgument, as_json: options.Json = False) -> None:
    """Read all that a gallery keeps, and name what is damaged."""
    from onelook.gallery.check import faults_of

    with _store(gallery) as store:
        found, stats = list(faults_of(store)), store.stats()
    size = {"identities": stats.n_identities, "images": stats.n_images}
    if as_json:
        print_json({**size, "damaged": found})
    for fault in found:
        say(fault)
    if found:
        fail("forget the damaged entries and enroll them again, or restore a backup")
    if not as_json:
        text = f"{counted(stats.n_images, 'image')} of {stats.n_identities:,} identities"
        print_text(f"{gallery}: {text}, all as they were written")


@galleries.command(epilog=example("onelook gallery maintain people.db"))
def maintain(gallery: options.GalleryArgument, as_json: options.Json = False) -> None:
    """Keep a gallery quick: rebuild its index, compact its file."""
    with _store(gallery) as store:
        store.maintain()
        search = store.stats().search
    print_either({"search": search}, f"{gallery}: {search}", as_json)


def open_gallery(
    url: str,
    model: str | None,
    *,
    make: bool = False,
    keep_originals: bool = False,
    paths: Sequence[str] = (),
) -> "Gallery":
    """A gallery; ``make`` it where it does not exist, or a wrong name makes none.

    A new one, without a model named, has the model for the pictures of ``paths``.
    """
    from onelook.gallery.gallery import Gallery
    from onelook.gallery.stores import store_exists

    if model is None and not (make and not store_exists(url)):
        return Gallery.open(url, keep_originals=keep_originals)
    if not make:
        with _store(url):
            pass  # a wrong name is told before a model is loaded
    if not store_exists(url):
        _check_name(url)
    verifier = load_model(model, paths=paths)
    return Gallery(verifier, url, keep_originals=keep_originals)


def _check_name(url: str) -> None:
    """Refuse a new file whose ending is no gallery's: mostly it is a slip of the hand."""
    ending = Path(url).suffix
    if "://" not in url and ending.lower() not in GALLERY_ENDINGS:
        fail(
            f"there is no gallery {url}; a new one ends in "
            f"{', '.join(GALLERY_ENDINGS[:-1])} or nothing: {Path(url).with_suffix('.db')}"
        )


def _store(url: str) -> AbstractContextManager["GalleryStore"]:
    from onelook.gallery.stores import opened

    return opened(url)


def _print_moved(moved: "Moved", target: str, as_json: bool) -> None:
    known = f", {moved.n_known:,} were there already" if moved.n_known else ""
    text = f"{moved.n_moved:,} images are new in {target}{known}"
    print_either(asdict(moved), text, as_json)
