"""OpenAPI: how forms and failures are described, the same way for every route."""

from typing import Any

from fastapi import FastAPI

from onelook.service.schemas import Failure

_WHY = {
    400: "A field or a parameter is missing, unknown or not valid",
    401: "A valid token is needed",
    403: "This caller may not write, or a web page of another origin asks",
    404: "No such identity, picture or gallery",
    408: "The body took too long",
    409: "An identity of that name exists",
    413: "More bytes, pixels or images than the limits of /v1/settings",
    421: "Not the name of this service",
    422: "An image cannot be read",
    503: "The service is busy; Retry-After says when to come back",
}
ALWAYS = (400, 401, 403, 421, 503)


def answers(model: Any, *also: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: its answer, and the failures it may have."""
    failures: dict[int | str, dict[str, Any]] = {
        code: {"model": Failure, "description": _WHY[code]}
        for code in sorted({*ALWAYS, *also})
    }
    return {status: {"model": model}, **failures}


def image_field(about: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "description": about}


def image_fields(about: str) -> dict[str, Any]:
    items = {"type": "string", "format": "binary"}
    return {"type": "array", "items": items, "minItems": 1, "description": about}


def form_of(
    fields: dict[str, dict[str, Any]], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The description of a form, for ``openapi_extra``."""
    schema = {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def json_of(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The description of a JSON object, for ``openapi_extra``."""
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    content = {"application/json": {"schema": {**schema, "additionalProperties": False}}}
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> None:
    """Take out of the document what FastAPI puts in for itself: its own validation error,
    which this service answers with 400."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            for operations in document["paths"].values():
                for operation in operations.values():
                    _drop_validation(operation["responses"])
            schemas = document["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _drop_validation(responses: dict[str, Any]) -> None:
    schema = (
        responses.get("422", {})
        .get("content", {})
        .get("application/json", {})
        .get("schema", {})
    )
    if schema.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]
