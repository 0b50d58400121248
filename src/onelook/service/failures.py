"""Failures: the answer that each exception becomes.

Every failure is ``{"error": "<message>"}``. No message holds a path of the server or the
content of an image: messages of Pillow and of stores go into the log only.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from onelook.errors import (
    DataError,
    GalleryError,
    TooLargeError,
    UnfitError,
    UnknownIdentityError,
)

log = logging.getLogger("onelook.service")

_KINDS = (
    *(AnyHTTPException, RequestValidationError, ClientDisconnect),
    *(DataError, GalleryError),
)
_OUR_NAME = re.compile(r"(left|right|image(?: \d+)?): ")


@dataclass(frozen=True)
class Failure:
    """What was wrong, and what to do next."""

    error: str


def overloaded(what: str) -> HTTPException:
    """The refusal of a request for which there is no room now."""
    return HTTPException(503, f"the service is busy: {what}; try again")


def status_and_message(error: Exception) -> tuple[int, str]:
    """What the client gets for an exception; the first case that matches decides."""
    match error:
        case AnyHTTPException():
            return error.status_code, str(error.detail)
        case UnknownIdentityError():
            return 404, "no such identity or picture; GET /v1/identities lists the names"
        case TooLargeError():
            return 413, str(error)
        case DataError():
            return 422, _unreadable(error)
        case GalleryError():
            return 503, "the gallery does not answer; see the log of the service"
        case RequestValidationError():
            return 400, "; ".join(map(_fault, error.errors()))
        case ClientDisconnect():
            return 400, "the connection was closed before the body was complete"
    return 500, "an error in the service; see its log"


def _unreadable(error: DataError) -> str:
    """Which image cannot be read, and why where the reason does not quote the image."""
    name = _OUR_NAME.match(str(error))
    reason = "cannot be read as an image; send an undamaged PNG, JPEG, WebP, GIF or TIFF"
    if isinstance(error, UnfitError):
        reason = str(error).removeprefix(name[0] if name else "")
    return f"{name[1] if name else 'image'}: {reason}"


def _fault(fault: Mapping[str, Any]) -> str:
    return f"{'.'.join(map(str, fault['loc'][1:])) or 'request'}: {fault['msg']}"


def failure(error: Exception) -> JSONResponse:
    """The answer that an exception becomes."""
    status, message = status_and_message(error)
    headers = error.headers if isinstance(error, AnyHTTPException) else None
    retry = {"Retry-After": "1"} if status == 503 else {}
    return JSONResponse({"error": message}, status, {**(headers or {}), **retry})


async def _answer_failure(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, GalleryError) and not isinstance(error, UnknownIdentityError):
        log.error("the gallery failed: %s", error)
    return failure(error)


def add_handlers(app: FastAPI) -> None:
    """Answer failures in one shape; whatever else goes wrong, ``Guards`` answers."""
    for kind in _KINDS:
        app.add_exception_handler(kind, _answer_failure)
