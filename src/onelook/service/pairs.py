"""Pairs: the routes that need no gallery: compare, embed, explain."""

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from onelook.comparison import Comparison
from onelook.service.backend import backend_of
from onelook.service.openapi import answers, form_of, image_field, image_fields
from onelook.service.schemas import Embeddings, ExplainedAnswer, PairAnswer
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
        score = await backend.embedder.score(form.image("left"), form.image("right"))
    answer = verifier.judge(form.filename("left"), form.filename("right"), score)
    return JSONResponse(_pair(answer))


@router.post(
    "/explain",
    responses=answers(ExplainedAnswer, *UPLOAD_FAILURES),
    openapi_extra=_PAIR_FORM,
    summary="What made two images alike, and what told them apart?",
)
async def explain(request: Request) -> JSONResponse:
    """`curl -F left=@a.png -F right=@b.png http://127.0.0.1:8000/v1/explain`"""
    backend = backend_of(request)
    async with body_of(request, backend.room, backend.settings) as body:
        form = read_form(request, body, backend.settings, ("left", "right"))
        left, right = form.image("left"), form.image("right")

        def work() -> dict[str, Any]:
            # Draws with matplotlib, which takes a second to come up.
            from onelook.explain import explain as explain_pair
            from onelook.service.overlays import overlays_of

            for image in (left, right):
                backend.embedder.check_header(image)
            explanation = explain_pair(backend.verifier, left.data, right.data)
            answer = dataclasses.replace(
                explanation.comparison,
                left=form.filename("left"),
                right=form.filename("right"),
            )
            return _pair(answer) | {"pictures": overlays_of(explanation)}

        with backend.embedder.places(2):
            content = await backend.slowly(work)
    return JSONResponse(content)


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
            "vectors": vectors.tolist(),
        }
    )


def _pair(answer: Comparison) -> dict[str, Any]:
    return answer.to_dict() | {"verdict": answer.verdict}
