"""About: the routes that tell of the service and of its model."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from onelook.data.inputs.images import Preprocess
from onelook.service.backend import backend_of
from onelook.service.failures import Refusal
from onelook.service.guards import may_write
from onelook.service.openapi import answers
from onelook.service.schemas import Health, ModelAnswer, SettingsAnswer
from onelook.verifier import Verifier

router = APIRouter(tags=["model"])
open_router = APIRouter(tags=["service"])

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/v1/model", responses=answers(ModelAnswer), summary="The model that answers")
async def model(request: Request) -> JSONResponse:
    backend = backend_of(request)
    content = describe_model(backend.verifier)
    content["fingerprint"] = backend.fingerprint
    content["card_text"] = backend.settings.card_text
    return JSONResponse(content)


@router.get(
    "/metrics",
    responses={**answers(None), 200: {"content": {"text/plain": {}}}},
    response_class=Response,
    summary="Figures for Prometheus",
)
async def metrics(request: Request) -> Response:
    return Response(backend_of(request).metrics.text(), media_type=PROMETHEUS)


@open_router.get(
    "/v1/settings",
    responses=answers(SettingsAnswer),
    summary="Limits, and what this caller may do",
)
async def settings(request: Request) -> JSONResponse:
    backend = backend_of(request)
    limits = backend.settings
    return JSONResponse(
        {
            "writable": backend.has_gallery and may_write(request, limits),
            "gallery": backend.has_gallery,
            "max_bytes": limits.max_bytes,
            "max_pixels": limits.max_pixels,
            "max_images": limits.max_images,
            "token_needed": limits.tokens is not None,
        }
    )


@open_router.get("/healthz", responses=answers(Health), summary="Is the process alive?")
async def healthz() -> JSONResponse:
    return JSONResponse({"status": "ok"})


@open_router.get("/readyz", responses=answers(Health), summary="Has the model run once?")
async def readyz(request: Request) -> JSONResponse:
    if not backend_of(request).ready:
        raise Refusal(503, "the model is warming up", {"Retry-After": "1"})
    return JSONResponse({"status": "ready"})


def describe_model(verifier: Verifier) -> dict[str, Any]:
    """What is known of a model, as JSON values."""
    decision = None if verifier.decision is None else verifier.decision.to_dict()
    curves = None if decision is None else decision.pop("curves", None)
    preprocess = verifier.preprocess
    shape = preprocess.input_shape if isinstance(preprocess, Preprocess) else None
    return {
        "name": verifier.name,
        "purpose": str(verifier.card.get("purpose", "")),
        "similarity": verifier.model.similarity.name,
        "takes": "images" if shape is None else f"images, seen as {shape[2]} x {shape[1]}",
        "decision": decision,
        "card": verifier.card,
        "calibration": None if curves is None else _calibration(curves),
    }


def _calibration(curves: dict[str, Any]) -> dict[str, Any]:
    far, frr = curves["far"], curves["frr"]
    return {
        "roc": {"far": far, "tar": [1 - rate for rate in frr]},
        "histogram": curves["histogram"],
        "thresholds": curves["thresholds"],
        "far": far,
        "frr": frr,
    }
