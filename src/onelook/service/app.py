"""App: ``create_app`` assembles routes, guards and the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Security
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware

from onelook.gallery.gallery import Gallery
from onelook.service import about, identities, openapi, pairs
from onelook.service.access import bearer, reader
from onelook.service.backend import Backend
from onelook.service.failures import add_handlers
from onelook.service.guards import ON_DEVICE, Guards
from onelook.service.observing import Observer
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

WEB = Path(__file__).parent / "web"
_ABOUT = """Tell from one example whether another image shows the same thing.

Images are sent as multipart/form-data, and answers are JSON; every failure is
`{"error": "<message>"}`. Images are never written to disk, except for thumbnails of
enrolled ones."""


def create_app(
    verifier: Verifier,
    gallery: Gallery | None = None,
    settings: ServiceSettings | None = None,
) -> FastAPI:
    """The service of a model, for any ASGI server; ``onelook serve`` runs it.

    Args:
        verifier: The model; it must take images.
        gallery: Where identities are kept; without one the service compares and embeds.
            The caller closes it.
        settings: Limits and tokens. The default answers under loopback names only, and
            without tokens.

    Raises:
        ValueError: If the model does not take images.

    Example:
        >>> app = create_app(verifier)  # doctest: +SKIP
    """
    settings = settings or ServiceSettings()
    backend = Backend(verifier, gallery, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        backend.start()
        yield
        await backend.stop()

    app = FastAPI(
        title="onelook",
        version=version("onelook"),
        description=_ABOUT,
        lifespan=lifespan,
        # The usual pages for the document load scripts from other servers.
        docs_url=None,
        redoc_url=None,
    )
    app.state.backend = backend
    add_handlers(app)
    _add_routes(app, [Security(bearer)] if settings.tokens is not None else [])
    if settings.on_device is not None:
        folder = StaticFiles(directory=settings.on_device, html=True)
        app.mount(ON_DEVICE.rstrip("/"), folder, name="device")
    openapi.describe(app)  # after the last route: another one makes the document again
    # The middleware that is added last runs first.
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(Guards, settings=settings)
    app.add_middleware(Observer, metrics=backend.metrics)
    return app


def _add_routes(app: FastAPI, named: list[Any]) -> None:
    """All routes; ``named`` is what tells the document of tokens."""
    app.include_router(about.open_router)
    for module in (pairs, identities, about):
        app.include_router(module.router, dependencies=[*named, Depends(reader)])
    app.mount("/web", StaticFiles(directory=WEB), name="web")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")
