"""Access: what a route depends on so that only those who may can read or write."""

from fastapi import Request
from fastapi.security import HTTPBearer

from onelook.service.backend import backend_of
from onelook.service.guards import refuse_reading, refuse_writing

# Says in the OpenAPI document that a token is needed; ``reader`` checks it.
bearer = HTTPBearer(auto_error=False, description="A token that `onelook token` made")


async def reader(request: Request) -> None:
    """Refuse whoever may not read."""
    refuse_reading(request, backend_of(request).settings)


async def writer(request: Request) -> None:
    """Refuse whoever may not write."""
    refuse_writing(request, backend_of(request).settings)
