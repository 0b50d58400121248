"""Identities: the routes of the gallery: identify, enroll, list, forget, rename."""

import dataclasses
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import AfterValidator

from onelook.errors import UnknownIdentityError
from onelook.gallery.answers import Identification, Match
from onelook.gallery.store import MAX_NAME, Stored
from onelook.service.access import writer
from onelook.service.backend import Served, ServedGallery, gallery_of
from onelook.service.openapi import answers, form_of, image_field, image_fields
from onelook.service.pairs import UPLOAD_FAILURES
from onelook.service.uploads import body_of, identity_name, json_object, read_form
from onelook.several import MOST, Placed, Seen, identify_all

router = APIRouter(prefix="/v1", tags=["gallery"])

_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_METADATA = {"type": "string", "description": "A JSON object, kept with each image"}
PICTURE_TYPES = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/webp": {}, "image/png": {}},
        "description": "A small picture, 96 pixels at most",
    }
}
Identity = Annotated[
    str, Path(min_length=1, max_length=MAX_NAME), AfterValidator(identity_name)
]
LARGEST_ENTRY = 2**63 - 1
_IDENTIFIED = Identification(
    identity="Ada",
    matches=(Match("Ada", 0.8124, 0.1876, 0.9712, True, n_images=3, entry=17),),
    threshold=0.71,
    fpir=0.01,
    extrapolated=False,
    gallery_size=120,
    familiar=True,
)

_SEEN = Seen("group.jpg", 640, 480, (Placed((40.0, 60.0, 140.0, 160.0), _IDENTIFIED),), 0)


@dataclass(frozen=True)
class EnrollAnswer:
    """How many images are new, and how many the identity had already.

    ``warnings`` are [image, reason] of new ones that are poor examples.
    """

    identity: str
    new: int
    known: int
    warnings: list[list[str]] = field(default_factory=list)

    __pydantic_config__ = {"json_schema_serialization_defaults_required": True}


@dataclass(frozen=True)
class IdentityRow:
    """One identity of a gallery; ``entry`` is its first image."""

    identity: str
    images: int
    entry: int


@dataclass(frozen=True)
class IdentityPage:
    """Identities by name; ``next`` is the ``after`` of the page that follows."""

    identities: list[IdentityRow]
    next: str | None
    total: int


@dataclass(frozen=True)
class EntryRow:
    """One enrolled image."""

    entry: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class IdentityAnswer:
    """One identity with its images."""

    identity: str
    images: list[EntryRow]


@dataclass(frozen=True)
class ForgetAnswer:
    """How many images were removed, from disk too."""

    identity: str
    forgotten: int


@dataclass(frozen=True)
class RenameAnswer:
    """The new name of an identity, and how many images it has."""

    identity: str
    images: int


@router.post(
    "/identify",
    dependencies=[Depends(gallery_of)],
    responses=answers(_IDENTIFIED, 404, *UPLOAD_FAILURES),
    openapi_extra=form_of({"image": image_field("An image file")}),
    summary="Who or what is this?",
)
async def identify(
    request: Request,
    backend: Served,
    k: Annotated[int, Query(ge=1, le=100, description="Number of matches")] = 5,
) -> Identification:
    """`curl -F image=@who.png http://127.0.0.1:8000/v1/identify?k=3`"""
    async with read_form(request, backend.room, ("image",)) as (images, _):
        return await backend.identify(images["image"][0], k)


@router.post(
    "/identify/all",
    responses=answers(_SEEN, 404, *UPLOAD_FAILURES),
    openapi_extra=form_of({"image": image_field("An image file")}),
    summary="Who is each face of a picture, or each drawing of a sheet?",
)
async def identify_each(
    request: Request,
    backend: Served,
    gallery: ServedGallery,
    k: Annotated[int, Query(ge=1, le=100, description="Number of matches of each")] = 5,
    faces: Annotated[int, Query(ge=1, le=100, description="The largest faces")] = MOST,
) -> Seen:
    """`curl -F image=@group.jpg http://127.0.0.1:8000/v1/identify/all?faces=10`"""
    async with read_form(request, backend.room, ("image",)) as (images, _):
        (image,) = images["image"]

        def work() -> Seen:
            with backend.embedder.checked(images["image"]):
                seen = identify_all(gallery, image.data, k, faces, image.name)
            return dataclasses.replace(seen, picture=image.filename)

        with backend.embedder.places(1):
            return await backend.slowly(work)


@router.post(
    "/enroll",
    status_code=201,
    dependencies=[Depends(writer)],
    responses=answers(EnrollAnswer("Ada", 2, 1), 404, *UPLOAD_FAILURES, status=201),
    openapi_extra=form_of(
        {"identity": _NAME, "images": image_fields("Image files"), "metadata": _METADATA},
        optional=("metadata",),
    ),
    summary="Add images of an identity",
)
async def enroll(
    request: Request,
    backend: Served,
    gallery: ServedGallery,
    strict: Annotated[bool, Query(description="Refuse poor examples with a 422")] = False,
) -> EnrollAnswer:
    """`curl -F identity=Ada -F images=@ada.png http://127.0.0.1:8000/v1/enroll`"""
    fields = ("identity", "metadata")
    form = read_form(request, backend.room, ("images",), fields, many=True)
    async with form as (files, texts):
        images = files["images"]
        if "identity" not in texts:
            raise HTTPException(400, "the field identity is missing; put a name there")
        identity = identity_name(texts["identity"])
        metadata = json_object(texts.get("metadata") or "{}", "metadata")

        def work() -> EnrollAnswer:
            data = [image.data for image in images]
            with backend.embedder.checked(images):
                done = gallery.enroll(identity, data, metadata, strict=strict)
            sent = {image.name: image.filename for image in images}
            warnings = [[sent[name], reason] for name, reason in done.warnings]
            return EnrollAnswer(identity, done.n_new, done.n_known, warnings)

        with backend.embedder.places(len(images)):
            return await run_in_threadpool(work)


# Routes that are not coroutines run in threads: they wait for disks or servers.
@router.get(
    "/identities",
    responses=answers(IdentityPage([IdentityRow("Ada", 3, 17)], "Ada", 120), 404),
    summary="Enrolled identities, by name",
)
def list_identities(
    gallery: ServedGallery,
    after: Annotated[str, Query(description="The last name of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> IdentityPage:
    counts = gallery.identities()
    names = [name for name in sorted(counts) if name > after]
    rows = []
    for name in names[:limit]:
        with suppress(UnknownIdentityError):  # another process may have forgotten it
            first = gallery.images(name, limit=1)[0]
            rows.append(IdentityRow(name, counts[name], first.id))
    following = names[limit - 1] if len(names) > limit else None
    return IdentityPage(rows, following, len(counts))


# A route that no name can be part of: a name may hold slashes.
@router.get(
    "/thumbnails/{identity:path}",
    responses={**answers(None, 404), **_PICTURE},
    response_class=Response,
    summary="A picture of an identity's first image",
)
def show_identity(gallery: ServedGallery, identity: Identity) -> Response:
    return _thumbnail(gallery.images(identity, limit=1)[0])


@router.get(
    "/identities/{identity:path}",
    responses=answers(IdentityAnswer("Ada", [EntryRow(17, {"camera": "door"})]), 404),
    summary="The images of an identity",
)
def read_identity(gallery: ServedGallery, identity: Identity) -> IdentityAnswer:
    rows: list[EntryRow] = []
    while entries := gallery.images(identity, rows[-1].entry if rows else 0):
        rows += [EntryRow(one.id, one.metadata) for one in entries]
    return IdentityAnswer(identity, rows)


@router.delete(
    "/identities/{identity:path}",
    dependencies=[Depends(writer)],
    responses=answers(ForgetAnswer("Ada", 3), 404),
    summary="Remove an identity, from disk too",
)
def forget(gallery: ServedGallery, identity: Identity) -> ForgetAnswer:
    return ForgetAnswer(identity, gallery.forget(identity))


async def _new_name(request: Request, backend: Served) -> str:
    async with body_of(request, backend.room) as body:
        content = json_object(body, "the body")
    new = content.get("identity")
    if not isinstance(new, str) or len(content) > 1:
        raise HTTPException(400, 'send {"identity": "the new name"}')
    return identity_name(new)


@router.patch(
    "/identities/{identity:path}",
    dependencies=[Depends(writer)],
    responses=answers(RenameAnswer("Ada Lovelace", 3), 404, 408, 409, 413),
    openapi_extra=form_of({"identity": _NAME}, kind="application/json"),
    summary="Give an identity another name",
)
def rename(
    gallery: ServedGallery,
    identity: Identity,
    new: Annotated[str, Depends(_new_name)],
    join: Annotated[
        bool, Query(description="Merge it with an identity that has the new name")
    ] = False,
) -> RenameAnswer:
    if not join and new != identity and gallery.has(new):
        gallery.images(identity, limit=1)  # an unknown name is reported first
        raise HTTPException(409, "that name is taken; ?join=true merges the two")
    gallery.rename(identity, new)
    return RenameAnswer(new, gallery.identities()[new])


@router.get(
    "/entries/{entry}/thumbnail",
    responses={**answers(None, 404), **_PICTURE},
    response_class=Response,
    summary="A picture of an enrolled image",
)
def show_entry(
    gallery: ServedGallery, entry: Annotated[int, Path(ge=1, le=LARGEST_ENTRY)]
) -> Response:
    return _thumbnail(gallery.entry(entry))


def _thumbnail(entry: Stored) -> Response:
    picture = entry.thumbnail
    if picture is None:
        raise HTTPException(404, "no such picture")
    kind = PICTURE_TYPES.get(picture[:4], "application/octet-stream")
    return Response(picture, media_type=kind)
