"""Pairs: the routes that need no gallery: compare, embed, explain."""

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from onelook.comparison import Comparison
from onelook.service.backend import Served
from onelook.service.openapi import answers, form_of, image_field, image_fields
from onelook.service.uploads import read_form

router = APIRouter(prefix="/v1", tags=["pairs"])

UPLOAD_FAILURES = (408, 413, 422)
_PAIR_FORM = form_of(
    {"left": image_field("One image file"), "right": image_field("The other")}
)
_PAIR = Comparison(
    *("a.png", "b.png", 0.8124, 0.1876, 0.9858, True, 0.6413, 0.01), familiar=True
)


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


def _explained(values: dict[str, Any], pictures: Pictures) -> Explanation:
    given = {name: value for name, value in values.items() if name != "verdict"}
    return Explanation(**given, pictures=pictures)


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
async def compare(request: Request, backend: Served) -> Comparison:
    """`curl -F left=@a.png -F right=@b.png http://127.0.0.1:8000/v1/compare`"""
    async with read_form(request, backend.room, ("left", "right")) as (images, _):
        (left,), (right,) = images["left"], images["right"]
        return await backend.embedder.compare(left, right)


@router.post(
    "/explain",
    responses=answers(
        _explained(_PAIR.to_dict(), Pictures(*["data:image/png;base64,…"] * 6)),
        *UPLOAD_FAILURES,
    ),
    openapi_extra=_PAIR_FORM,
    summary="Which parts of two images make them alike, and which set them apart?",
)
async def explain(request: Request, backend: Served) -> Explanation:
    """`curl -F left=@a.png -F right=@b.png http://127.0.0.1:8000/v1/explain`"""
    async with read_form(request, backend.room, ("left", "right")) as (images, _):
        (left,), (right,) = images["left"], images["right"]

        def work() -> Explanation:
            from onelook.explain import explain as explain_pair
            from onelook.service.overlays import overlays_of

            with backend.embedder.checked((left, right)):
                found = explain_pair(backend.verifier, left.data, right.data)
            values = found.comparison.to_dict()
            values |= {"left": left.filename, "right": right.filename}
            return _explained(values, Pictures(**overlays_of(found)))

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
    backend: Served,
    side: Annotated[
        Literal["left", "right"],
        Query(description="Which encoder, where the model has two"),
    ] = "left",
) -> Embeddings:
    """`curl -F images=@a.png -F images=@b.png http://127.0.0.1:8000/v1/embed`"""
    async with read_form(request, backend.room, ("images",), many=True) as (images, _):
        sides = [side] * len(images["images"])
        vectors = await backend.embedder.embed(images["images"], sides)
    return Embeddings(backend.verifier.name, backend.fingerprint, vectors.tolist())
