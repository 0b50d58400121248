"""Failures: what the service refuses, and the answer that each exception becomes.

Every failure is ``{"error": "<message>"}``. No message holds a path of the server or the
content of an image: messages of Pillow and of stores go into the log only.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from onelook.data.inputs.ink import NoInkError
from onelook.errors import (
    DataError,
    GalleryError,
    OnelookError,
    TooLargeError,
    UnknownIdentityError,
)

log = logging.getLogger("onelook.service")

# The first that matches decides; everything else is 500.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownIdentityError, 404),
    (TooLargeError, 413),
    (DataError, 422),
    (GalleryError, 503),
    (RequestValidationError, 400),
    (ClientDisconnect, 400),
)
RETRY_SECONDS = "1"
_OUR_NAME = re.compile(r"(left|right|image(?: \d+)?): ")


@dataclass(frozen=True)
class Failure:
    """What was wrong, and what to do next."""

    error: str


class Refusal(OnelookError):
    """A refused request, with its status and headers."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def overloaded(what: str) -> Refusal:
    """The refusal of a request for which there is no room now."""
    return Refusal(
        503, f"the service is busy: {what}; try again", {"Retry-After": RETRY_SECONDS}
    )


def status_of(error: Exception) -> int:
    """The status of an exception, by the table."""
    if isinstance(error, Refusal | HTTPException):
        return error.status if isinstance(error, Refusal) else error.status_code
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def message_of(error: Exception) -> str:
    """The message that the client gets for an exception."""
    match error:
        case Refusal():
            return str(error)
        case HTTPException():
            return str(error.detail)
        case UnknownIdentityError():
            return "no such identity or picture; GET /v1/identities lists the names"
        case TooLargeError():
            return str(error)
        case DataError():
            return _unreadable(error)
        case GalleryError():
            return "the gallery does not answer; see the log of the service"
        case RequestValidationError():
            return "; ".join(_fault(fault) for fault in error.errors())
        case ClientDisconnect():
            return "the connection was closed before the body was complete"
    return "an error in the service; see its log"


def _unreadable(error: DataError) -> str:
    """Which image cannot be read, and why where the reason does not quote the image."""
    name = _OUR_NAME.match(str(error))
    reason = "cannot be read as an image; send an undamaged PNG, JPEG, WebP, GIF or TIFF"
    if isinstance(error.__cause__, NoInkError):
        reason = str(error.__cause__)
    return f"{name[1] if name else 'image'}: {reason}"


def _fault(fault: Mapping[str, object]) -> str:
    location = fault.get("loc", ())
    names = [str(part) for part in location] if isinstance(location, tuple) else []
    return f"{'.'.join(names[1:]) or 'request'}: {fault.get('msg', 'not valid')}"


def failure(error: Exception) -> JSONResponse:
    """The answer that an exception becomes."""
    status, headers = status_of(error), {}
    if isinstance(error, Refusal | HTTPException):
        headers = dict(error.headers or {})
    elif status == 503:
        headers = {"Retry-After": RETRY_SECONDS}
    return JSONResponse({"error": message_of(error)}, status, headers)


async def _answer_failure(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, GalleryError) and not isinstance(error, UnknownIdentityError):
        log.error("the gallery failed: %s", error)
    return failure(error)


def add_handlers(app: FastAPI) -> None:
    """Answer every failure of the application in the same shape."""
    for kind in (Refusal, HTTPException, Exception, *(kind for kind, _ in STATUSES)):
        app.add_exception_handler(kind, _answer_failure)
