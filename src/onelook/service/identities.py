"""Identities: the routes of the gallery: identify, enroll, list, forget, rename."""

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from onelook.errors import UnknownIdentityError
from onelook.gallery.store import MAX_NAME, Stored
from onelook.service.access import writer
from onelook.service.backend import Backend, backend_of
from onelook.service.failures import Refusal
from onelook.service.openapi import answers, form_of, image_field, image_fields, json_of
from onelook.service.pairs import UPLOAD_FAILURES
from onelook.service.schemas import (
    EnrollAnswer,
    ForgetAnswer,
    IdentifyAnswer,
    IdentityAnswer,
    IdentityPage,
    RenameAnswer,
)
from onelook.service.uploads import (
    body_of,
    identity_name,
    json_object,
    read_form,
)

router = APIRouter(prefix="/v1", tags=["gallery"])

_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
PICTURE_TYPES = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/webp": {}, "image/png": {}},
        "description": "A small picture, 96 pixels at most",
    }
}
Identity = Annotated[str, Path(min_length=1, max_length=MAX_NAME)]
LARGEST_ENTRY = 2**63 - 1


@router.post(
    "/identify",
    responses=answers(IdentifyAnswer, 404, *UPLOAD_FAILURES),
    openapi_extra=form_of({"image": image_field("An image file")}),
    summary="Who or what is this?",
)
async def identify(
    request: Request,
    k: Annotated[int, Query(ge=1, le=100, description="Matches wanted")] = 5,
) -> JSONResponse:
    """`curl -F image=@who.png http://127.0.0.1:8000/v1/identify?k=3`"""
    backend = backend_of(request)
    backend.gallery  # noqa: B018  (a 404 without one, before the body is read)
    async with body_of(request, backend.room, backend.settings) as body:
        form = read_form(request, body, backend.settings, ("image",))
        answer = await backend.identify(form.image("image"), k)
    return JSONResponse(answer.to_dict())


@router.post(
    "/enroll",
    status_code=201,
    dependencies=[Depends(writer)],
    responses=answers(EnrollAnswer, 404, *UPLOAD_FAILURES, status=201),
    openapi_extra=form_of(
        {
            "identity": _NAME,
            "images": image_fields("Image files"),
            "metadata": {"type": "string", "description": "A JSON object, kept with each"},
        },
        optional=("metadata",),
    ),
    summary="Add images of an identity",
)
async def enroll(request: Request) -> JSONResponse:
    """`curl -F identity=Ada -F images=@ada.png http://127.0.0.1:8000/v1/enroll`"""
    backend = backend_of(request)
    gallery = backend.gallery
    async with body_of(request, backend.room, backend.settings) as body:
        fields = ("identity", "metadata")
        form = read_form(request, body, backend.settings, ("images",), fields, many=True)
        if "identity" not in form.texts:
            raise Refusal(400, "the field identity is missing; put a name there")
        identity = identity_name(form.texts["identity"])
        metadata = json_object(form.texts.get("metadata") or "{}", "metadata")
        images = form.images["images"]

        def work() -> tuple[int, int]:
            for image in images:
                backend.embedder.check_header(image)
            enrolled = gallery.enroll(identity, [i.data for i in images], metadata)
            return enrolled.n_new, enrolled.n_known

        with backend.embedder.places(len(images)):
            n_new, n_known = await backend.in_thread(work)
    content = {"identity": identity, "new": n_new, "known": n_known}
    return JSONResponse(content, 201)


@router.get(
    "/identities",
    responses=answers(IdentityPage, 404),
    summary="Who is enrolled, by name",
)
async def list_identities(
    request: Request,
    after: Annotated[str, Query(description="The last name of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JSONResponse:
    backend = backend_of(request)
    gallery = backend.gallery

    def work() -> dict[str, Any]:
        counts = gallery.identities()
        names = [name for name in sorted(counts) if name > after]
        rows = []
        for name in names[:limit]:
            with suppress(UnknownIdentityError):  # another process may have forgotten it
                first = gallery.images(name, limit=1)[0]
                row = {"identity": name, "images": counts[name], "entry": first.id}
                rows.append(row)
        following = names[limit - 1] if len(names) > limit else None
        return {"identities": rows, "next": following, "total": len(counts)}

    return JSONResponse(await backend.in_thread(work))


# Before the identity itself: a name may hold slashes.
@router.get(
    "/identities/{identity:path}/thumbnail",
    responses={**answers(None, 404), **_PICTURE},
    response_class=Response,
    summary="A picture of an identity's first image",
)
async def show_identity(request: Request, identity: Identity) -> Response:
    backend = backend_of(request)
    name = identity_name(identity)
    entries = await backend.in_thread(partial(backend.gallery.images, name, 0, 1))
    return _thumbnail(entries[0])


@router.get(
    "/identities/{identity:path}",
    responses=answers(IdentityAnswer, 404),
    summary="The images of an identity",
)
async def read_identity(request: Request, identity: Identity) -> JSONResponse:
    backend = backend_of(request)
    name = identity_name(identity)
    rows = await backend.in_thread(partial(_entries, backend, name))
    return JSONResponse({"identity": name, "images": rows})


@router.delete(
    "/identities/{identity:path}",
    dependencies=[Depends(writer)],
    responses=answers(ForgetAnswer, 404),
    summary="Remove an identity, from disk too",
)
async def forget(request: Request, identity: Identity) -> JSONResponse:
    backend = backend_of(request)
    name = identity_name(identity)
    n = await backend.in_thread(partial(backend.gallery.forget, name))
    return JSONResponse({"identity": name, "forgotten": n})


@router.patch(
    "/identities/{identity:path}",
    dependencies=[Depends(writer)],
    responses=answers(RenameAnswer, 404, 408, 409, 413),
    openapi_extra=json_of({"identity": _NAME}),
    summary="Give an identity another name",
)
async def rename(
    request: Request,
    identity: Identity,
    join: Annotated[
        bool, Query(description="Put it together with an identity that has the new name")
    ] = False,
) -> JSONResponse:
    backend = backend_of(request)
    gallery, name = backend.gallery, identity_name(identity)
    async with body_of(request, backend.room, backend.settings) as body:
        content = json_object(body, "the body")
    new = content.get("identity")
    if not isinstance(new, str) or len(content) > 1:
        raise Refusal(400, 'send {"identity": "the new name"}')
    identity_name(new)

    def work() -> int:
        if not join and new != name and gallery.has(new):
            gallery.images(name, limit=1)  # an unknown name is the first thing to say
            raise Refusal(409, "that name is taken; ?join=true puts the two together")
        gallery.rename(name, new)
        return gallery.identities()[new]

    return JSONResponse({"identity": new, "images": await backend.in_thread(work)})


@router.get(
    "/entries/{entry}/thumbnail",
    responses={**answers(None, 404), **_PICTURE},
    response_class=Response,
    summary="A picture of an enrolled image",
)
async def show_entry(
    request: Request, entry: Annotated[int, Path(ge=1, le=LARGEST_ENTRY)]
) -> Response:
    backend = backend_of(request)
    return _thumbnail(await backend.in_thread(partial(backend.gallery.entry, entry)))


def _entries(backend: Backend, identity: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while entries := backend.gallery.images(identity, rows[-1]["entry"] if rows else 0):
        rows += [{"entry": one.id, "metadata": one.metadata} for one in entries]
    return rows


def _thumbnail(entry: Stored) -> Response:
    picture = entry.thumbnail
    if picture is None:
        raise Refusal(404, "no such picture")
    kind = PICTURE_TYPES.get(picture[:4], "application/octet-stream")
    return Response(picture, media_type=kind)
