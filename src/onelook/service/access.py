"""Access: who may read or write, and the dependencies of routes that check it."""

from fastapi import Request
from fastapi.security import HTTPBearer

from onelook.service.backend import backend_of
from onelook.service.failures import Refusal
from onelook.service.settings import ServiceSettings
from onelook.service.tokens import Token

# Names the token in the OpenAPI document; ``reader`` checks it.
bearer = HTTPBearer(auto_error=False, description="A token of `onelook token`")


def token_of(request: Request, settings: ServiceSettings) -> Token | None:
    """The valid token of a request; None without one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if settings.tokens is None or scheme.lower() != "bearer":
        return None
    return settings.tokens.find(secret.strip())


def may_write(request: Request, settings: ServiceSettings) -> bool:
    """Whether the caller may enroll, rename and forget."""
    token = token_of(request, settings)
    allowed = settings.tokens is None or (token is not None and token.may_write)
    return allowed and not settings.read_only


async def reader(request: Request) -> None:
    """Refuse a caller that may not read: a 401."""
    settings = backend_of(request).settings
    if settings.tokens is not None and token_of(request, settings) is None:
        raise Refusal(
            401,
            "a valid token is required: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )


async def writer(request: Request) -> None:
    """Refuse a caller that may not write: a 401 or a 403."""
    await reader(request)
    settings = backend_of(request).settings
    if not may_write(request, settings):
        why = "this service is read-only" if settings.read_only else "the token only reads"
        raise Refusal(403, f"{why}: nothing can be enrolled, renamed or forgotten")
