"""Connections: those that send nothing are closed, and there are only so many.

uvicorn closes a connection that is idle after a request, but waits for ever for the first
one, or for the second half of a header; each is one of the files that it may open.
"""

import asyncio
import logging
import time
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger("onelook.service")

IDLE_SECONDS = 30  # without a request in work, after which a connection is closed
CHECK_SECONDS = 5
MOST_CONNECTIONS = 1000
OTHER_FILES = 256  # of the process: the model, the gallery, what is being accepted
QUIET_SECONDS = 60  # between two lines of the log


def most_connections() -> int:
    """How many connections may be open: fewer where the process may open few files."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(8, min(MOST_CONNECTIONS, files - OTHER_FILES))


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's connection, which ends when it is idle, or the longest idle of too many."""

    most = MOST_CONNECTIONS
    _said = float("-inf")

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._idle_since = time.monotonic()
        self._check = self.loop.call_later(CHECK_SECONDS, self._close_if_idle)
        # One that is closing leaves the set later than the next ones come.
        held = [one for one in self.connections if not one.transport.is_closing()]
        if len(held) > self.most:
            idle = [one for one in held if not one.is_busy()]
            min(idle or [self], key=lambda one: one._idle_since).transport.close()
            self._say_full()

    def connection_lost(self, exc: Exception | None) -> None:
        self._check.cancel()
        super().connection_lost(exc)

    def is_busy(self) -> bool:
        """Whether a request is in work."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _close_if_idle(self) -> None:
        now = time.monotonic()
        if self.is_busy():
            self._idle_since = now
        elif now - self._idle_since >= IDLE_SECONDS:
            self.transport.close()
            return
        self._check = self.loop.call_later(CHECK_SECONDS, self._close_if_idle)

    def _say_full(self) -> None:
        now = time.monotonic()
        if now - Connection._said >= QUIET_SECONDS:
            Connection._said = now
            log.warning("%d connections are open: the longest idle are closed", self.most)
