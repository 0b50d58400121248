"""Backend: the model, the gallery and the threads that all requests of a service share."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from onelook.data.sequences import StrokePreprocess, TextPreprocess
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Gallery
from onelook.service.batching import Batcher
from onelook.service.embedding import Embedder, Vector
from onelook.service.failures import Refusal
from onelook.service.observing import Metrics
from onelook.service.settings import ServiceSettings
from onelook.service.uploads import Room
from onelook.verifier import Verifier

log = logging.getLogger("onelook.service")

GALLERY_THREADS = 4

Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """One probe: who is this, the ``k`` best?"""

    vector: Vector
    k: int


class Backend:
    """Made by ``create_app``; its threads begin with ``start`` and end with ``stop``.

    Raises:
        ValueError: If the model takes no images.
    """

    def __init__(
        self, verifier: Verifier, gallery: Gallery | None, settings: ServiceSettings
    ) -> None:
        for side in ("left", "right"):
            if isinstance(verifier.preprocess_of(side), TextPreprocess | StrokePreprocess):
                raise ValueError(
                    f"the service compares images, and {verifier.name} takes none on the "
                    f"{side} side; use onelook compare"
                )
        self.verifier = verifier
        self.settings = settings
        self.metrics = Metrics()
        self.room = Room(settings.max_held_bytes)
        self.fingerprint = verifier.fingerprint
        self.ready = False
        self._gallery = gallery

    def start(self) -> None:
        """Begin the threads, and warm up beside the first requests."""
        self.embedder = Embedder(
            self.verifier, self.settings, self.metrics.batch_size.observe
        )
        self.metrics.watch_waiting(lambda: self.embedder.n_waiting)
        self._identifier: Batcher[Question, Identification] = Batcher(
            self._identify_batch, self.settings.batch_size, name="onelook-identify"
        )
        self._threads = ThreadPoolExecutor(GALLERY_THREADS, "onelook-gallery")
        # Explanations take seconds: one at a time leaves the other core to the rest.
        self._slow_thread = ThreadPoolExecutor(1, "onelook-explain")
        self._warming = self._threads.submit(self._warm_up)

    def _warm_up(self) -> None:
        try:
            self.embedder.warm_up()
            self.ready = True
        except Exception:
            log.exception("the model failed on a blank image; the service is not ready")

    def stop(self) -> None:
        """Finish what was accepted, then end the threads."""
        self.ready = False
        self._warming.exception()
        self.embedder.close()
        self._identifier.close()
        self._threads.shutdown()
        self._slow_thread.shutdown()

    @property
    def has_gallery(self) -> bool:
        return self._gallery is not None

    @property
    def gallery(self) -> Gallery:
        """Raises a 404 where the service has none."""
        if self._gallery is None:
            raise Refusal(404, "this service has no gallery; start it with --gallery")
        return self._gallery

    async def identify(self, vector: Vector, k: int) -> Identification:
        """``Gallery.identify``; probes that wait are searched for in one go."""
        return await asyncio.wrap_future(self._identifier.put(Question(vector, k)))

    def _identify_batch(self, questions: list[Question]) -> list[Identification]:
        answers: dict[int, Identification] = {}
        for k in sorted({question.k for question in questions}):
            rows = [i for i, question in enumerate(questions) if question.k == k]
            vectors = [questions[i].vector for i in rows]
            answers.update(zip(rows, self.gallery.identify_many(vectors, k), strict=True))
        return [answers[i] for i in range(len(questions))]

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Work that waits for disks or servers, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def slowly(self, work: Callable[[], Result]) -> Result:
        """Work of seconds, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._slow_thread, work)


def backend_of(request: Request) -> Backend:
    """The backend of the application that a request came to."""
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend
