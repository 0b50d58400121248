"""Server: run the application at one address until it is told to stop."""

import asyncio
import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from onelook.machine import cores, threads, use_threads
from onelook.service.connections import IDLE_SECONDS, Connection, most_connections
from onelook.service.settings import LOOPBACK_NAMES
from onelook.service.tokens import Tokens

STOP_SECONDS = 60  # for accepted requests to end once the service stops
REFUSE_SECONDS = 10  # before its end what is not done is refused
SWITCH_SECONDS = 0.0005
# Connections that are accepted at a time; each needs a file before it can be refused.
BACKLOG = 64


def check_address(host: str, tokens: Tokens | None) -> None:
    """Refuse to open the service to other machines without a token."""
    if tokens is None and not is_loopback(host):
        raise ValueError(
            f"--host {host} opens the service to other machines, which requires tokens: "
            "make one with onelook token FILE --name NAME and add --token-file FILE, or "
            "omit --host to serve this machine only"
        )


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def hosts_of(host: str, allowed: tuple[str, ...]) -> tuple[str, ...] | None:
    """The host names that the service answers to; None for any.

    Other addresses than loopback require tokens, which a web page cannot know; there the
    host name is checked only where names are allowed explicitly.
    """
    if not is_loopback(host):
        return allowed or None
    return (*LOOPBACK_NAMES, host.strip("[]").lower(), *allowed)


def limit_threads() -> None:
    """Set up this process for serving: leave one core to HTTP and decoding.

    The threads of a matrix product spin while they wait for each other: where other work
    has one of their cores, all of them spin. The interpreter switches threads sooner than
    by default, or every system call of the event loop waits 5 ms for the decoding thread
    (with 32 clients 184 comparisons/s instead of 150, on a busy machine).
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    n = max(1, min(threads(), cores() - 1))
    use_threads(n)
    threadpool_limits(n)


def serve(app: FastAPI, host: str, port: int, on_start: Callable[[str], object]) -> None:
    """Answer until SIGTERM or Ctrl-C, finish accepted requests, then return.

    ``on_start`` is called with the URL once the service answers; port 0 is any free one.
    """
    bound = _bind(host, port)
    name = f"[{host.strip('[]')}]" if bound.family == socket.AF_INET6 else host
    Connection.most = most_connections()
    config = uvicorn.Config(
        app,
        http=Connection,
        backlog=BACKLOG,
        log_config=None,
        ws="none",
        access_log=False,  # it would log URLs, which may name people
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    url = f"http://{name}:{bound.getsockname()[1]}"
    with _stopping_quietly():
        refuse = app.state.backend.refuse
        _Server(config, lambda: on_start(url), refuse).run(sockets=[bound])


class _Server(uvicorn.Server):
    """A server that reports when it answers, and stops in time."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_start: Callable[[], object],
        refuse: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._on_start, self._refuse = on_start, refuse

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        refusing = loop.call_later(STOP_SECONDS - REFUSE_SECONDS, self._refuse)
        await super().shutdown(sockets)
        refusing.cancel()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Declared as TCP, or asyncio does not set TCP_NODELAY on its connections: an answer has
    # two packets, and a lone client would wait 40 ms for the second.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), port))
        bound.listen()
    except OSError as error:
        bound.close()
        raise OSError(
            f"cannot bind to {host}, port {port}: {error.strerror or error}; "
            "--port 0 takes a free port"
        ) from error
    return bound


@contextmanager
def _stopping_quietly() -> Iterator[None]:
    """Catch the signal that uvicorn raises again after it has stopped."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
