"""Backend: the model, the gallery and the threads that all requests of a service share."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Gallery
from onelook.service.batching import Job, Upload, deliver
from onelook.service.embedding import Embedder
from onelook.service.failures import Refusal, overloaded
from onelook.service.observing import Metrics
from onelook.service.settings import ServiceSettings
from onelook.service.uploads import Room
from onelook.verifier import Verifier

log = logging.getLogger("onelook.service")

GALLERY_THREADS = 4
MOST_SLOW = 8  # explanations that may wait

Result = TypeVar("Result")


class Backend:
    """The shared state of one application; ``start`` and ``stop`` bound its threads.

    Args:
        verifier: The model.
        gallery: Where identities are kept, if anywhere.
        settings: Limits and access.

    Raises:
        ValueError: If the model does not take images.
    """

    def __init__(
        self, verifier: Verifier, gallery: Gallery | None, settings: ServiceSettings
    ) -> None:
        for side in ("left", "right"):
            if not verifier.input_of(side).subject:
                raise ValueError(
                    f"{verifier.name} takes no images on the {side} side, and the service "
                    "compares images; use onelook compare"
                )
        self.verifier = verifier
        self.settings = settings
        self.metrics = Metrics()
        self.room = Room(settings)
        self.fingerprint = verifier.fingerprint
        self.ready = False
        self._gallery = gallery
        if gallery is not None:
            gallery.stats()  # creates a new gallery now, not during the first requests
        self._n_slow = 0

    def start(self) -> None:
        """Start the threads, and warm up beside the first requests."""
        self.embedder = Embedder(
            self.verifier, self.settings, self.metrics.batch_size.observe
        )
        self.metrics.watch_waiting(lambda: self.embedder.n_waiting)
        self._threads = ThreadPoolExecutor(GALLERY_THREADS, "onelook-gallery")
        # Explanations take seconds: one at a time leaves a core to other requests.
        self._slow_thread = ThreadPoolExecutor(1, "onelook-explain")
        self._warming = asyncio.get_running_loop().create_task(self._warm_up())

    async def _warm_up(self) -> None:
        try:
            await self.embedder.warm_up()
            self.ready = True
        except Exception:
            log.exception("the model failed on a blank image; the service is not ready")

    async def stop(self) -> None:
        """Finish accepted requests, then end the threads."""
        self.ready = False
        await self._warming
        self.embedder.close()
        self._threads.shutdown()
        self._slow_thread.shutdown()

    @property
    def has_gallery(self) -> bool:
        return self._gallery is not None

    @property
    def gallery(self) -> Gallery:
        """The gallery; raises a 404 where the service has none."""
        if self._gallery is None:
            raise Refusal(404, "this service has no gallery; start it with --gallery")
        return self._gallery

    async def identify(self, image: Upload, k: int) -> Identification:
        """``Gallery.identify``; probes that were embedded together are searched together.

        Raises:
            Refusal: If too many images are waiting.
            DataError: If it cannot be read.
            TooLargeError: If it has too many pixels.
        """
        answer: Identification = await self.embedder.run(
            (image,), ("left",), self._ask_gallery, k=k
        )
        return answer

    def _ask_gallery(self, jobs: list[Job]) -> None:
        # In threads of its own: a gallery that hangs must not hold up comparisons.
        self._threads.submit(self._identify, jobs)

    def _identify(self, jobs: list[Job]) -> None:
        for k in sorted({job.k for job in jobs}):
            some = [job for job in jobs if job.k == k]
            try:
                found = self.gallery.identify_many([job.vectors[0] for job in some], k)
                deliver([(job.future, one) for job, one in zip(some, found, strict=True)])
            except Exception as error:
                deliver([(job.future, error) for job in some])

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run work that waits for disks or servers, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def slowly(self, work: Callable[[], Result]) -> Result:
        """Run work that takes seconds, one call after the other.

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
    """The backend of the application that received a request."""
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend
