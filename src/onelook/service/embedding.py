"""Embedder: encoded images of many requests in, embeddings or scores out."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from onelook.comparison import Comparison
from onelook.data.inputs.decoding import SENT_FORMATS, header_in
from onelook.errors import TooLargeError
from onelook.familiarity import Reason, of_both
from onelook.machine import cores, give_way
from onelook.service.batching import Batcher, Job, Upload, Vectors, deliver
from onelook.service.failures import overloaded
from onelook.service.settings import ServiceSettings
from onelook.service.shares import CLIENT, Shares, Turns
from onelook.verifier import Verifier

# Images above this many pixels are decoded beside the others, not before them. Below it
# one thread decodes: most of the time of a small drawing is Python, where two threads
# take turns (0.62 ms for a drawing of Omniglot with one thread, 1.02 ms with two).
LARGE_PIXELS = 1_000_000


class Embedder:
    """Decodes in threads, embeds in batches, off the event loop.

    ``on_batch`` is called with the number of images of every batch; ``n_waiting`` images
    are accepted and not answered.
    """

    def __init__(
        self,
        verifier: Verifier,
        settings: ServiceSettings,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._verifier = verifier
        self._settings = settings
        self._on_batch = on_batch
        self._n_decoding = 0
        self._places = Shares(settings.max_waiting)
        self._pixels = Shares(settings.max_waiting_pixels)
        self._small: Turns[Job] = Turns()
        self._large: Turns[Job] = Turns()
        self._futures: set[asyncio.Future[Any]] = set()
        self._lock = threading.Lock()
        self._decoder = ThreadPoolExecutor(1, "onelook-decode")
        # A small request need not wait for a core until a large picture is decoded.
        self._decoders = ThreadPoolExecutor(
            cores(), "onelook-decode-large", initializer=give_way
        )
        self._batcher = Batcher(
            self._embed_batch,
            largest=settings.batch_size,
            wait=settings.batch_wait,
            coming=lambda: self._n_decoding,
        )

    @property
    def n_waiting(self) -> int:
        """Number of images that are accepted and not answered."""
        return self._places.total

    async def embed(self, uploads: Sequence[Upload], sides: Sequence[str]) -> Vectors:
        """Embeddings (N, D) of images, each for its side ("left" or "right")."""
        vectors: Vectors = await self.run(uploads, sides)
        return vectors

    async def compare(self, left: Upload, right: Upload) -> Comparison:
        """The answer for a pair; raises as ``embed`` does."""
        uploads, sides = (left, right), ("left", "right")
        answer: Comparison = await self.run(uploads, sides, self._judge)
        return answer

    def _judge(self, jobs: list[Job]) -> None:
        deliver([(job.future, self._judged(job)) for job in jobs])

    def _judged(self, job: Job) -> Comparison:
        """The answer for the two images of a request."""
        score = float(self._verifier.score(job.vectors[:1], job.vectors[1:])[0])
        names = [upload.filename for upload in job.uploads]
        reason: Reason = None
        if self._verifier.shared:
            called = [upload.filename or upload.name for upload in job.uploads]
            reason = of_both(*self._verifier.reasons(job.loaded, job.vectors, called))
        return self._verifier.judge(names[0], names[1], score, reason)

    async def run(
        self,
        uploads: Sequence[Upload],
        sides: Sequence[str],
        finish: Callable[[list[Job]], object] | None = None,
        *,
        k: int = 0,
    ) -> Any:
        """What ``finish`` delivers for these images; raises as ``embed`` does."""
        with self.places(len(uploads)):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            with self._lock:
                self._n_decoding += 1
                self._small.put(Job(uploads, sides, future, finish, k))
            self._decoder.submit(self._decode_next)
            self._futures.add(future)
            try:
                return await future
            finally:
                self._futures.discard(future)

    def refuse(self) -> None:
        """Refuse what is accepted and not done; for the event loop only."""
        for future in self._futures:
            if not future.done():
                future.set_exception(overloaded("it stops"))

    @contextmanager
    def places(self, n: int) -> Iterator[None]:
        """Count ``n`` more images as waiting inside the block; for the event loop only."""
        client = CLIENT.get()
        if not self._places.take(client, n):
            raise overloaded(f"{self.n_waiting} images are waiting")
        try:
            yield
        finally:
            self._places.give(client, n)

    def check_header(self, upload: Upload) -> int:
        """Pixels of an image as its header says."""
        limit = self._settings.max_pixels
        file = io.BytesIO(upload.data)
        height, width, _ = header_in(file, upload.name, limit, SENT_FORMATS)
        return height * width

    async def warm_up(self) -> None:
        """Run the model once alone and once on a full batch, as the first requests will."""
        for n in (1, self._settings.batch_size):
            sides = ("left", "right") * n
            examples = [self._verifier.input_of(side).example()[0] for side in sides]
            future = asyncio.get_running_loop().create_future()
            blanks = [Upload("example", b"")] * len(sides)
            self._batcher.put(Job(blanks, sides, future, loaded=examples))
            await future

    def close(self) -> None:
        """Finish what was accepted."""
        self._decoder.shutdown()
        self._decoders.shutdown()
        self._batcher.close()

    @contextmanager
    def checked(self, uploads: Sequence[Upload]) -> Iterator[None]:
        """Check images by their headers and count their pixels inside the block."""
        client = CLIENT.get()
        n = self._reserve(client, uploads)
        try:
            yield
        finally:
            self._pixels.give(client, n)

    def _reserve(self, client: str, uploads: Sequence[Upload]) -> int:
        n, limit = sum(map(self.check_header, uploads)), self._pixels.limit
        if n > limit:
            raise TooLargeError(
                f"the images of a request have {n:,} pixels, more than the limit of "
                f"{limit:,}; send fewer or smaller ones"
            )
        if not self._pixels.take(client, n):
            raise overloaded(f"images of {self._pixels.total:,} pixels are waiting")
        return n

    def _decode_next(self) -> None:
        """Check the next job, and decode it unless it is large."""
        with self._lock:
            job = self._small.take()
        try:
            job.n_pixels = self._reserve(job.client, job.uploads)
        except Exception as error:
            deliver([(job.future, error)])
            job.uploads = ()
        if job.n_pixels <= LARGE_PIXELS:
            self._load(job)
            return
        with self._lock:
            self._large.put(job)
        self._decoders.submit(self._load_next)

    def _load_next(self) -> None:
        with self._lock:
            job = self._large.take()
        self._load(job)

    def _load(self, job: Job) -> None:
        try:
            loaded = []
            for upload, side in zip(job.uploads, job.sides, strict=True):
                if job.future.done():  # refused, or its client has gone
                    break
                loaded.append(self._verifier.input_of(side).load(upload.data, upload.name))
            else:
                job.loaded = loaded
        except Exception as error:
            deliver([(job.future, error)])
        self._pixels.give(job.client, job.n_pixels)
        with self._lock:
            self._n_decoding -= 1
        if job.loaded:
            self._batcher.put(job)

    def _embed_batch(self, jobs: list[Job]) -> None:
        images = [image for job in jobs for image in job.loaded]
        self._on_batch(len(images))
        vectors = self._embed(images, [side for job in jobs for side in job.sides])
        ends = np.cumsum([len(job.loaded) for job in jobs])
        for job, part in zip(jobs, np.split(vectors, ends[:-1]), strict=True):
            job.vectors = part
        deliver([(job.future, job.vectors) for job in jobs if job.finish is None])
        # Jobs of one kind finish together: a gallery is searched in one go.
        for finish in {job.finish for job in jobs if job.finish is not None}:
            finish([job for job in jobs if job.finish == finish])

    def _embed(self, images: list[Any], sides: list[str]) -> Vectors:
        if self._verifier.shared:  # twins: both sides go through the one encoder
            return self._verifier.embed_loaded(images)
        rows = {
            side: [i for i, one in enumerate(sides) if one == side] for side in {*sides}
        }
        parts = [
            self._verifier.embed_loaded([images[i] for i in some], side)
            for side, some in rows.items()
        ]
        order = np.argsort(np.concatenate([*rows.values()]))
        vectors: Vectors = np.concatenate(parts)[order]
        return vectors
