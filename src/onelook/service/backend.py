"""Backend: the model, the gallery and the threads that all requests of a service share."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from onelook.data.inputs.sequences import StrokePreprocess, TextPreprocess
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Gallery
from onelook.service.batching import Asked, Batcher, deliver
from onelook.service.embedding import Embedder, Job, Upload, Vectors
from onelook.service.failures import Refusal, overloaded
from onelook.service.observing import Metrics
from onelook.service.settings import ServiceSettings
from onelook.service.uploads import Room
from onelook.verifier import Verifier

log = logging.getLogger("onelook.service")

GALLERY_THREADS = 4
MOST_SLOW = 8  # works of seconds that are accepted and not done

Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """The embedding (1, D) of one probe: who is this, the ``k`` best?"""

    vectors: Vectors
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
        self.room = Room(settings)
        self.fingerprint = verifier.fingerprint
        self.ready = False
        self._gallery = gallery
        self._n_slow = 0

    def start(self) -> None:
        """Begin the threads, and warm up beside the first requests."""
        self.embedder = Embedder(
            self.verifier, self.settings, self.metrics.batch_size.observe
        )
        self.metrics.watch_waiting(lambda: self.embedder.n_waiting)
        self._identifier: Batcher[Question] = Batcher(
            self._identify_batch, self.settings.batch_size, name="onelook-identify"
        )
        self._threads = ThreadPoolExecutor(GALLERY_THREADS, "onelook-gallery")
        # Explanations take seconds: one at a time leaves the other core to the rest.
        self._slow_thread = ThreadPoolExecutor(1, "onelook-explain")
        self._warming = asyncio.get_running_loop().create_task(self._warm_up())

    async def _warm_up(self) -> None:
        try:
            await self.embedder.warm_up()
            self.ready = True
        except Exception:
            log.exception("the model failed on a blank image; the service is not ready")

    async def stop(self) -> None:
        """Finish what was accepted, then end the threads."""
        self.ready = False
        await self._warming
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

    async def identify(self, image: Upload, k: int) -> Identification:
        """``Gallery.identify``; probes that wait are searched for in one go.

        Raises:
            Refusal: If too many images are waiting.
            DataError: If it cannot be read.
            TooLargeError: If it has too many pixels.
        """
        job = Job((image,), ("left",), partial(self._ask_gallery, k))
        answer: Identification = await self.embedder.run(job)
        return answer

    def _ask_gallery(
        self, k: int, probes: Sequence[tuple[Vectors, "asyncio.Future[Any]"]]
    ) -> None:
        # In a thread of its own: a gallery that hangs must not hold up comparisons.
        for vectors, future in probes:
            self._identifier.put(Question(vectors, k), future)

    def _identify_batch(self, asked: list[Asked[Question]]) -> None:
        for k in sorted({question.k for question, _ in asked}):
            some = [(one.vectors[0], future) for one, future in asked if one.k == k]
            answers = self.gallery.identify_many([vector for vector, _ in some], k)
            deliver(zip((future for _, future in some), answers, strict=True))

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Work that waits for disks or servers, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def slowly(self, work: Callable[[], Result]) -> Result:
        """Work of seconds, one after the other.

        Raises:
            Refusal: If too much of it is waiting.
        """
        if self._n_slow >= MOST_SLOW:
            raise overloaded(f"{self._n_slow} explanations are waiting")
        self._n_slow += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._slow_thread, work)
        finally:
            self._n_slow -= 1


def backend_of(request: Request) -> Backend:
    """The backend of the application that a request came to."""
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend
