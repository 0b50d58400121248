"""About: the routes that describe the service and its model."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from onelook.service.access import may_write
from onelook.service.backend import Served
from onelook.service.cards import card_html
from onelook.service.openapi import answers
from onelook.verifier import Verifier

router = APIRouter(tags=["model"])
open_router = APIRouter(tags=["service"])

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Histogram:
    """Fractions of same and of different pairs whose score lies between two edges."""

    edges: list[float]
    same: list[float]
    different: list[float]


@dataclass(frozen=True)
class Calibration:
    """What was measured when the model was calibrated, by threshold."""

    thresholds: list[float]
    far: list[float]
    frr: list[float]
    histogram: Histogram


@dataclass(frozen=True)
class ModelAnswer:
    """The model that answers; its card as Markdown and as HTML.

    ``subject`` is what it compares: "drawing", "face" or "thing".
    """

    name: str
    purpose: str
    fingerprint: str
    similarity: str
    subject: str
    takes: str
    cohort: str
    decision: dict[str, Any] | None
    card: dict[str, Any]
    card_text: str
    card_html: str
    calibration: Calibration | None


@dataclass(frozen=True)
class SettingsAnswer:
    """What this caller may do, and the limits."""

    writable: bool
    gallery: bool
    max_bytes: int
    max_pixels: int
    max_images: int
    token_needed: bool
    on_device: bool


@dataclass(frozen=True)
class Health:
    """Alive, or ready."""

    status: str


_HISTOGRAM = Histogram(edges=[0.0, 0.5, 1.0], same=[0.1, 0.9], different=[0.8, 0.2])
_MODEL = ModelAnswer(
    name="omniglot",
    purpose="drawings of characters",
    fingerprint="0123456789abcdef",
    similarity="cosine",
    subject="drawing",
    takes="images",
    cohort="normalised by 200 images: characters",
    decision={"threshold": 0.6413, "far": 0.01},
    card={"name": "omniglot"},
    card_text="Drawings of characters.",
    card_html="<p>Drawings of characters.</p>",
    calibration=Calibration([0.1, 0.6413], [0.2, 0.01], [0.05, 0.3], _HISTOGRAM),
)


@router.get("/v1/model", responses=answers(_MODEL), summary="The model that answers")
async def model(backend: Served) -> ModelAnswer:
    card_text = backend.settings.card_text
    return describe_model(backend.verifier, backend.fingerprint, card_text)


@router.get(
    "/metrics",
    responses={**answers(None), 200: {"content": {"text/plain": {}}}},
    response_class=Response,
    summary="Figures for Prometheus",
)
async def metrics(backend: Served) -> Response:
    return Response(backend.metrics.text(), media_type=PROMETHEUS)


@open_router.get(
    "/v1/settings",
    responses=answers(SettingsAnswer(True, True, 32 << 20, 40_000_000, 32, False, False)),
    summary="Limits, and what this caller may do",
)
async def settings(request: Request, backend: Served) -> SettingsAnswer:
    limits, has_gallery = backend.settings, backend.gallery is not None
    return SettingsAnswer(
        writable=has_gallery and await may_write(request, limits),
        gallery=has_gallery,
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        max_images=limits.max_images,
        token_needed=limits.tokens is not None,
        on_device=limits.on_device is not None,
    )


@open_router.get(
    "/healthz", responses=answers(Health("ok")), summary="Is the process alive?"
)
async def healthz() -> Health:
    return Health("ok")


@open_router.get(
    "/readyz", responses=answers(Health("ready")), summary="Has the model run once?"
)
async def readyz(backend: Served) -> Health:
    if not backend.ready:
        raise HTTPException(503, "the model is warming up")
    return Health("ready")


def describe_model(verifier: Verifier, fingerprint: str, card_text: str) -> ModelAnswer:
    """What is known of a model."""
    decision = None if verifier.decision is None else verifier.decision.to_dict()
    curves = None if decision is None else decision.pop("curves", None)
    if curves is not None:
        curves["histogram"] = Histogram(**curves["histogram"])
    shape = verifier.input.input_shape
    return ModelAnswer(
        name=verifier.name,
        purpose=verifier.card.purpose,
        fingerprint=fingerprint,
        similarity=verifier.scores.name,
        subject=verifier.card.subject or verifier.input.subject,
        takes="images" if shape is None else f"images, seen as {shape[2]} x {shape[1]}",
        cohort=verifier.normalised_by,
        decision=decision,
        card=verifier.card.model_dump(mode="json", exclude_defaults=True),
        card_text=card_text,
        card_html=card_html(card_text, verifier.name),
        calibration=None if curves is None else Calibration(**curves),
    )
