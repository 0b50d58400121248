"""The real service in a thread, for a real browser; it can be stopped and started again."""

import socket
import threading
import time
from pathlib import Path

import uvicorn

from onelook.gallery.gallery import Gallery
from onelook.service.app import create_app
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

SECONDS = 20  # in which it must have started or stopped


class PageServer:
    """A service on a free port of loopback."""

    def __init__(
        self,
        verifier: Verifier,
        gallery_file: Path | None = None,
        settings: ServiceSettings | None = None,
    ) -> None:
        self.gallery = None if gallery_file is None else Gallery(verifier, gallery_file)
        self.app = create_app(verifier, self.gallery, settings)
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer; after a stop at the same address as before."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.app, log_config=None, ws="none", timeout_graceful_shutdown=5
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()
        end = time.monotonic() + SECONDS
        while not self._server.started:
            assert time.monotonic() < end and self._thread.is_alive(), "it does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Let go of the port."""
        self._server.should_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "it does not stop"

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        if self.gallery is not None:
            self.gallery.close()
