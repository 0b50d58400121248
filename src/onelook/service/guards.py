"""Guards: checks of every request before it is read, and headers of every answer.

A service on loopback without tokens is open to every program on this machine, and a
browser is one. So a web page must not reach it under a name of its own (DNS rebinding) or
make the browser send it a write (cross-site request forgery).
"""

import logging
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onelook.service.failures import failure
from onelook.service.settings import ServiceSettings
from onelook.service.shares import CLIENT, network

log = logging.getLogger("onelook.service")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
ON_DEVICE = "/device/"  # the path of the page that answers in the browser
# That page compiles WebAssembly, and nothing else there or elsewhere is allowed more.
DEVICE_HEADERS = HEADERS | {
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'"
    )
}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Guards:
    """Checks host and origin, notes the client, and adds headers for browsers."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        begun = False
        CLIENT.set(network((scope.get("client") or ("",))[0]))

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                device = self.settings.on_device and scope["path"].startswith(ON_DEVICE)
                for name, value in (DEVICE_HEADERS if device else HEADERS).items():
                    headers.append(name, value)
                # Browsers may cache the page if they revalidate it, but never an answer.
                pages = ("/web/", ON_DEVICE)
                is_page = scope["path"] == "/" or scope["path"].startswith(pages)
                headers["Cache-Control"] = "no-cache" if is_page else "no-store"
            await send(message)

        try:
            check_host(Headers(scope=scope), self.settings)
            if scope["method"] not in SAFE_METHODS:
                check_origin(Headers(scope=scope), self.settings)
            await self.app(scope, receive, send_guarded)
        except Exception as error:
            if not isinstance(error, HTTPException):
                log.exception("an error in the service")
            if not begun:
                await failure(error)(scope, receive, send_guarded)


def check_host(headers: Headers, settings: ServiceSettings) -> None:
    """Refuse a request for a host name that is not this service's."""
    host = headers.get("host", "")
    if settings.hosts is not None and _name(host) not in settings.hosts:
        raise HTTPException(421, "this service does not answer under that host name")


def check_origin(headers: Headers, settings: ServiceSettings) -> None:
    """Refuse a request that a web page of another origin caused."""
    origin = headers.get("origin")
    if origin is None:
        # Browsers that omit the origin say at least that the page is another's.
        own = headers.get("sec-fetch-site") not in ("cross-site", "same-site")
    else:
        own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    if not own and origin not in settings.cors:
        raise HTTPException(403, "web pages of other origins may not use this service")


def _name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
