"""Backend: the model, the gallery and the threads that all requests of a service share."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Annotated, TypeVar

import numpy as np
from fastapi import Depends, HTTPException, Request

from onelook.familiarity import Reason
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Gallery
from onelook.machine import give_way
from onelook.service.batching import Job, Upload, deliver
from onelook.service.embedding import Embedder
from onelook.service.failures import overloaded
from onelook.service.observing import Metrics
from onelook.service.settings import ServiceSettings
from onelook.service.shares import CLIENT, Shares
from onelook.service.uploads import Room
from onelook.verifier import Verifier

log = logging.getLogger("onelook.service")

GALLERY_THREADS = 4
MOST_SLOW = 8  # explanations that may wait

Result = TypeVar("Result")


class Backend:
    """The shared state of one application; ``start`` and ``stop`` bound its threads."""

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
        self.gallery = gallery
        self.settings = settings
        self.metrics = Metrics()
        self.room = Room(settings)
        self.fingerprint = verifier.fingerprint  # of a network of one's own it takes time
        self.ready = False
        if gallery is not None:
            gallery.stats()  # creates a new gallery now, not during the first requests

    def start(self) -> None:
        """Start the threads, and warm up beside the first requests."""
        on_batch = self.metrics.batch_size.observe
        self.embedder = Embedder(self.verifier, self.settings, on_batch)
        self.metrics.waiting.set_function(lambda: self.embedder.n_waiting)
        # In threads of their own: a gallery that hangs must not hold up comparisons.
        self._searchers = ThreadPoolExecutor(GALLERY_THREADS, "onelook-gallery")
        # Explanations take seconds: one at a time leaves a core to other requests.
        self._slow = Shares(MOST_SLOW)
        self._explainer = ThreadPoolExecutor(1, "onelook-slow", initializer=give_way)
        self._warming = asyncio.get_running_loop().create_task(self._warm_up())

    async def _warm_up(self) -> None:
        try:
            await self.embedder.warm_up()
            self.ready = True
        except Exception:
            log.exception("the model failed on an example; the service is not ready")

    def refuse(self) -> None:
        """Refuse what is accepted and not done: the service has to stop."""
        self.embedder.refuse()

    async def stop(self) -> None:
        """Finish accepted requests, then end the threads."""
        self.ready = False
        await self._warming
        self.embedder.close()
        self._searchers.shutdown()
        self._explainer.shutdown(cancel_futures=True)

    async def identify(self, image: Upload, k: int) -> Identification:
        """``Gallery.identify``; probes that were embedded together are searched so."""
        finish = self._search_together
        answer: Identification = await self.embedder.run((image,), ("left",), finish, k=k)
        return answer

    def _search_together(self, jobs: list[Job]) -> None:
        self._searchers.submit(self._search, jobs)

    def _search(self, jobs: list[Job]) -> None:
        assert self.gallery is not None
        for k in sorted({job.k for job in jobs}):
            some = [job for job in jobs if job.k == k]
            try:
                reasons = [self._reason(job) for job in some]
                vectors = np.concatenate([job.vectors for job in some])
                found = self.gallery.identify_embedded(vectors, reasons, k)
                deliver([(job.future, one) for job, one in zip(some, found, strict=True)])
            except Exception as error:
                deliver([(job.future, error) for job in some])

    def _reason(self, job: Job) -> Reason:
        """Why the probe of a request is not familiar."""
        called = [job.uploads[0].filename or job.uploads[0].name]
        return self.verifier.reasons(job.loaded, job.vectors, called)[0]

    async def slowly(self, work: Callable[[], Result]) -> Result:
        """Run work that takes seconds, one call after the other."""
        client = CLIENT.get()
        if not self._slow.take(client, 1):
            raise overloaded(f"{self._slow.total} explanations are waiting")
        try:
            work_here = partial(copy_context().run, work)  # for the address of the client
            return await asyncio.get_running_loop().run_in_executor(
                self._explainer, work_here
            )
        finally:
            self._slow.give(client, 1)


async def backend_of(request: Request) -> Backend:
    """The backend of the application that received a request."""
    backend: Backend = request.app.state.backend
    return backend


Served = Annotated[Backend, Depends(backend_of)]


async def gallery_of(backend: Served) -> Gallery:
    """The gallery; raises a 404 where the service has none."""
    if backend.gallery is None:
        raise HTTPException(404, "this service has no gallery; start it with --gallery")
    return backend.gallery


ServedGallery = Annotated[Gallery, Depends(gallery_of)]
