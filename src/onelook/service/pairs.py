"""Pairs: the routes that need no gallery: compare, embed, explain."""

import dataclasses
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from onelook.comparison import Comparison
from onelook.service.backend import backend_of
from onelook.service.openapi import answers, form_of, image_field, image_fields
from onelook.service.uploads import read_form

router = APIRouter(prefix="/v1", tags=["pairs"])

UPLOAD_FAILURES = (408, 413, 422)
_PAIR_FORM = form_of(
    {"left": image_field("One image file"), "right": image_field("The other")}
)
_PAIR = Comparison("a.png", "b.png", 0.8124, 0.1876, 0.9858, True, 0.6413, 0.01)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """``data:`` addresses of PNG images; the heat maps are transparent overlays."""

    left: str
    right: str
    left_alike: str
    right_alike: str
    left_apart: str
    right_apart: str


@dataclasses.dataclass(frozen=True)
class Explanation(Comparison):
    """A pair, with what spoke for the same thing and what against it."""

    pictures: Pictures = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """One vector for each image, in the order in which the images came."""

    model: str
    fingerprint: str
    vectors: list[list[float]]


@router.post(
    "/compare",
    responses=answers(_PAIR, *UPLOAD_FAILURES),
    openapi_extra=_PAIR_FORM,
    summary="Do two images show the same thing?",
)
async def compare(request: Request) -> Comparison:
    """`curl -F left=@a.png -F right=@b.png http://127.0.0.1:8000/v1/compare`"""
    backend = backend_of(request)
    async with read_form(request, backend.room, ("left", "right")) as form:
        left, right = form.image("left"), form.image("right")
        score = await backend.embedder.score(left, right)
    return backend.verifier.judge(left.filename, right.filename, score)


def _explained(pair: Comparison, pictures: dict[str, str]) -> Explanation:
    values = pair.to_dict()
    del values["verdict"]
    return Explanation(**values, pictures=Pictures(**pictures))


@router.post(
    "/explain",
    responses=answers(
        _explained(
            _PAIR, dict.fromkeys(Pictures.__annotations__, "data:image/png;base64,…")
        ),
        *UPLOAD_FAILURES,
    ),
    openapi_extra=_PAIR_FORM,
    summary="Which parts of two images make them alike, and which set them apart?",
)
async def explain(request: Request) -> Explanation:
    """`curl -F left=@a.png -F right=@b.png http://127.0.0.1:8000/v1/explain`"""
    backend = backend_of(request)
    async with read_form(request, backend.room, ("left", "right")) as form:
        left, right = form.image("left"), form.image("right")

        def work() -> Explanation:
            from onelook.explain import explain as explain_pair
            from onelook.service.overlays import overlays_of

            for image in (left, right):
                backend.embedder.check_header(image)
            found = explain_pair(backend.verifier, left.data, right.data)
            pair = dataclasses.replace(
                found.comparison, left=left.filename, right=right.filename
            )
            return _explained(pair, overlays_of(found))

        with backend.embedder.places(2):
            return await backend.slowly(work)


@router.post(
    "/embed",
    responses=answers(
        Embeddings("omniglot", "0123456789abcdef", [[0.12, -0.08, 0.33]]), *UPLOAD_FAILURES
    ),
    openapi_extra=form_of({"images": image_fields("Image files")}),
    summary="The vectors of images",
)
async def embed(
    request: Request,
    side: Annotated[
        Literal["left", "right"],
        Query(description="Which encoder, where the model has two"),
    ] = "left",
) -> Embeddings:
    """`curl -F images=@a.png -F images=@b.png http://127.0.0.1:8000/v1/embed`"""
    backend = backend_of(request)
    async with read_form(request, backend.room, ("images",), many=True) as form:
        images = form.images["images"]
        vectors = await backend.embedder.embed(images, [side] * len(images))
    return Embeddings(backend.verifier.name, backend.fingerprint, vectors.tolist())
