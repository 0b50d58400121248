"""Guards: what every request must satisfy before it is read, and what answers carry.

A service on loopback without tokens is open to every program of this machine, and a
browser is one: so a web page may neither reach it under a name of its own (DNS rebinding)
nor make the browser send it a write (cross-site request forgery).
"""

import logging
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onelook.service.failures import Refusal, failure
from onelook.service.settings import ServiceSettings
from onelook.service.tokens import Token

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
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Guards:
    """Checks host and origin, and adds the headers that keep browsers careful."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.append(name, value)
                # The page may be kept if it is asked for anew; answers about people never.
                is_page = scope["path"] == "/" or scope["path"].startswith("/web/")
                headers["Cache-Control"] = "no-cache" if is_page else "no-store"
            await send(message)

        try:
            check_host(Headers(scope=scope), self.settings)
            if scope["method"] not in SAFE_METHODS:
                check_origin(Headers(scope=scope), self.settings)
            await self.app(scope, receive, send_guarded)
        except Exception as error:
            if not isinstance(error, Refusal):
                log.exception("a fault of the service")
            if not begun:
                await failure(error)(scope, receive, send_guarded)


def check_host(headers: Headers, settings: ServiceSettings) -> None:
    """Refuse a request for a name that is not this service's."""
    host = headers.get("host", "")
    if settings.hosts is not None and _name(host) not in settings.hosts:
        raise Refusal(421, "this service does not answer under that host name")


def check_origin(headers: Headers, settings: ServiceSettings) -> None:
    """Refuse a request that a web page of another origin made a browser send."""
    origin = headers.get("origin")
    if origin is None:
        # Browsers that leave the origin out say at least that the page is another's.
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refusal(403, "web pages of other origins may not ask this service")
        return
    own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    if not own and origin not in settings.cors:
        raise Refusal(403, "web pages of other origins may not ask this service")


def _name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def token_of(request: Request, settings: ServiceSettings) -> Token | None:
    """The valid token that a request carries; None if it carries none."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if settings.tokens is None or scheme.lower() != "bearer":
        return None
    return settings.tokens.find(secret.strip())


def may_write(request: Request, settings: ServiceSettings) -> bool:
    """Whether whoever sent this request may enroll and forget."""
    if settings.read_only:
        return False
    token = token_of(request, settings)
    return settings.tokens is None or (token is not None and token.may_write)


def refuse_reading(request: Request, settings: ServiceSettings) -> None:
    """Raises a 401 where a token is needed and none that is valid came."""
    if settings.tokens is not None and token_of(request, settings) is None:
        raise Refusal(
            401,
            "a valid token is needed: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )


def refuse_writing(request: Request, settings: ServiceSettings) -> None:
    """Raises a 401 or a 403 where the request may not write."""
    refuse_reading(request, settings)
    if not may_write(request, settings):
        why = "this service is read-only" if settings.read_only else "the token only reads"
        raise Refusal(403, f"{why}: nothing can be enrolled, renamed or forgotten")
