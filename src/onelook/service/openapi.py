"""OpenAPI: examples, forms and failures of every route, described in the same way."""

import dataclasses
from typing import Any

from fastapi import FastAPI

from onelook.service.failures import Failure

_REASONS = {
    400: "A field or parameter is missing, unknown or not valid",
    401: "A valid token is required",
    403: "The caller may not write, or a web page of another origin sent the request",
    404: "No such identity, picture or gallery",
    408: "The body took too long",
    409: "An identity of that name exists",
    413: "More bytes, pixels or images than the limits of /v1/settings",
    421: "Not a host name of this service",
    422: "An image cannot be read",
    503: "The service is busy; Retry-After says when to try again",
}
ALWAYS = (400, 401, 403, 421, 503)


def answers(
    example: Any, *failures: int, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: an example of its answer, and its failures.

    The example is a dataclass of the type that the route returns; None for no JSON.
    """
    found: dict[int | str, dict[str, Any]] = {
        code: {"model": Failure, "description": _REASONS[code]}
        for code in sorted({*ALWAYS, *failures})
    }
    if example is not None:
        content = {"example": dataclasses.asdict(example)}
        found[status] = {"content": {"application/json": content}}
    return found


def image_field(about: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "description": about}


def image_fields(about: str) -> dict[str, Any]:
    items = {"type": "string", "format": "binary"}
    return {"type": "array", "items": items, "minItems": 1, "description": about}


def form_of(
    fields: dict[str, dict[str, Any]],
    optional: tuple[str, ...] = (),
    kind: str = "multipart/form-data",
) -> dict[str, Any]:
    """The description of a request body, for ``openapi_extra``."""
    schema = {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


def describe(app: FastAPI) -> None:
    """Remove FastAPI's own validation error, a 400 here, from the document."""
    document = app.openapi()  # the application keeps and serves this object
    for operations in document["paths"].values():
        for operation in operations.values():
            failures = operation["responses"]
            if failures.get("422", {}).get("description") == "Validation Error":
                del failures["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
