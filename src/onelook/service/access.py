"""Access: who may read or write, and the dependencies of routes that check it."""

from fastapi import HTTPException, Request
from fastapi.security import HTTPBearer

from onelook.service.backend import Served
from onelook.service.settings import ServiceSettings
from onelook.service.shares import CLIENT
from onelook.service.tokens import Token

# Names the token in the OpenAPI document; ``reader`` checks it.
bearer = HTTPBearer(auto_error=False, description="A token of `onelook token`")


async def token_of(request: Request, settings: ServiceSettings) -> Token | None:
    """The valid token of a request; None without one."""
    given = await bearer(request)
    if settings.tokens is None or given is None:
        return None
    return settings.tokens.find(given.credentials.strip())


async def may_write(request: Request, settings: ServiceSettings) -> bool:
    """Whether the caller may enroll, rename and forget."""
    token = await token_of(request, settings)
    allowed = settings.tokens is None or (token is not None and token.may_write)
    return allowed and not settings.read_only


async def reader(request: Request, backend: Served) -> None:
    """Refuse a caller that may not read: a 401. The token says which client it is."""
    if backend.settings.tokens is None:
        return
    token = await token_of(request, backend.settings)
    if token is None:
        why = "a valid token is required: Authorization: Bearer TOKEN"
        raise HTTPException(401, why, {"WWW-Authenticate": "Bearer"})
    CLIENT.set(token.name)  # behind a proxy all have one address


async def writer(request: Request, backend: Served) -> None:
    """Refuse a caller that may not write: a 403."""
    if not await may_write(request, backend.settings):
        read_only = backend.settings.read_only
        why = "this service is read-only" if read_only else "the token only reads"
        raise HTTPException(403, f"{why}: nothing can be enrolled, renamed or forgotten")
