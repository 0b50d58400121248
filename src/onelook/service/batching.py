"""Batching: the images of many requests are embedded together, by one thread."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.service.shares import CLIENT, Turns

Vectors = NDArray[np.float32]  # (N, D)


@dataclass(frozen=True)
class Upload:
    """The file of an image."""

    name: str  # in messages: the field of the form, never the client's name of the file
    data: bytes
    filename: str = ""  # the client's, for answers only


@dataclass(eq=False)
class Job:
    """The images of one request, on their way to an answer."""

    uploads: Sequence[Upload]
    sides: Sequence[str]  # "left" or "right": the encoder of each
    future: "asyncio.Future[Any]"
    # Delivers the answers of jobs whose vectors are known; None for the vectors themselves.
    finish: "Callable[[list[Job]], object] | None" = None
    k: int = 0  # number of matches, where the gallery is asked
    client: str = field(default_factory=CLIENT.get)
    n_pixels: int = 0  # that are waiting to be decoded
    loaded: list[Any] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))


class Batcher:
    """A queue before one thread, which takes as many jobs at a time as are waiting,
    one of each client in turn.

    While one batch is processed the next one gathers, so batches grow with the load. A
    batch that is not full waits only while other jobs are on their way (``coming`` counts
    them), and at most ``wait`` seconds: a lone request never waits. Where ``work`` raises,
    all jobs of the batch get the error.
    """

    def __init__(
        self,
        work: Callable[[list[Job]], None],
        *,
        largest: int,
        wait: float = 0.0,
        coming: Callable[[], int] = lambda: 0,
    ) -> None:
        self._work = work
        self._largest = largest
        self._wait = wait
        self._coming = coming
        self._queue: Turns[Job] = Turns()
        self._n_images = 0  # in the queue
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="onelook-embed", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job, from any thread."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._queue.put(job)
            self._n_images += len(job.uploads)
            # Waking the thread costs as much as a job: only when it has cause to go on.
            if len(self._queue) == 1 or self._is_complete():
                self._changed.notify()

    def close(self) -> None:
        """Process what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._work(batch)
            # Whatever went wrong belongs to the callers, never to this thread.
            except BaseException as error:
                deliver([(job.future, error) for job in batch])

    def _take(self) -> list[Job]:
        """The next batch; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._changed.wait_for(self._is_complete, self._wait)
            batch: list[Job] = []
            size = 0
            while self._queue and size < self._largest:
                batch.append(self._queue.take())
                size += len(batch[-1].uploads)
            self._n_images -= size
            return batch

    def _is_complete(self) -> bool:
        return self._n_images >= self._largest or not self._coming() or self._closed


def deliver(answers: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
    """Give futures of one event loop their answers, from any thread.

    An answer that is an exception is raised where the future is awaited. The loop is woken
    once for all: each waking lets it take the interpreter from the embedding thread.
    """
    if answers:
        answers[0][0].get_loop().call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, answer in answers:
        if future.done():  # its caller has gone
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
