"""Pairs: the routes that need no gallery: compare, embed, explain."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from onelook.service.backend import backend_of
from onelook.service.openapi import answers, form_of, image_field, image_fields
from onelook.service.schemas import Embeddings, PairAnswer
from onelook.service.uploads import body_of, read_form

router = APIRouter(prefix="/v1", tags=["pairs"])

UPLOAD_FAILURES = (408, 413, 422)
_PAIR_FORM = form_of(
    {"left": image_field("One image file"), "right": image_field("The other")}
)


@router.post(
    "/compare",
    responses=answers(PairAnswer, *UPLOAD_FAILURES),
    openapi_extra=_PAIR_FORM,
    summary="Do two images show the same thing?",
)
async def compare(request: Request) -> JSONResponse:
    """`curl -F left=@a.png -F right=@b.png http://127.0.0.1:8000/v1/compare`"""
    backend = backend_of(request)
    settings, verifier = backend.settings, backend.verifier
    async with body_of(request, backend.room, settings) as body:
        form = read_form(request, body, settings, ("left", "right"))
        images = [form.image("left"), form.image("right")]
        left, right = await backend.embedder.embed(images, ("left", "right"))
    score = float(verifier.score(left[None], right[None])[0])
    answer = verifier.judge(form.filename("left"), form.filename("right"), score)
    return JSONResponse(answer.to_dict() | {"verdict": answer.verdict})


@router.post(
    "/embed",
    responses=answers(Embeddings, *UPLOAD_FAILURES),
    openapi_extra=form_of({"images": image_fields("Image files")}),
    summary="The vectors of images",
)
async def embed(
    request: Request,
    side: Annotated[
        Literal["left", "right"],
        Query(description="Which encoder, where the model has two"),
    ] = "left",
) -> JSONResponse:
    """`curl -F images=@a.png -F images=@b.png http://127.0.0.1:8000/v1/embed`"""
    backend = backend_of(request)
    async with body_of(request, backend.room, backend.settings) as body:
        form = read_form(request, body, backend.settings, ("images",), many=True)
        images = form.images["images"]
        vectors = await backend.embedder.embed(images, [side] * len(images))
    return JSONResponse(
        {
            "model": backend.verifier.name,
            "fingerprint": backend.fingerprint,
            "vectors": [vector.tolist() for vector in vectors],
        }
    )
