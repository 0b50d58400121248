"""Embedder: encoded images of many requests in, embeddings or scores out."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from onelook.data.inputs.decoding import header_in
from onelook.machine import cores
from onelook.service.batching import Batcher, Job, Upload, Vectors, deliver
from onelook.service.failures import overloaded
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

# Images above this many pixels are decoded beside the others, not before them. Below it
# one thread decodes: most of the time of a small drawing is Python, where two threads
# take turns (0.62 ms for a drawing of Omniglot with one thread, 1.02 ms with two).
LARGE_PIXELS = 1_000_000


class Embedder:
    """Decodes in threads, embeds in batches, off the event loop.

    Args:
        verifier: The model.
        settings: Limits, and the sizes of batches.
        on_batch: Called with the number of images of every batch.
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
        self._n_waiting = 0
        self._n_decoding = 0
        self._lock = threading.Lock()
        self._decoder = ThreadPoolExecutor(1, "onelook-decode")
        self._large = ThreadPoolExecutor(cores(), "onelook-decode-large")
        self._batcher = Batcher(
            self._embed_batch,
            largest=settings.batch_size,
            wait=settings.batch_wait,
            coming=lambda: self._n_decoding,
        )

    @property
    def n_waiting(self) -> int:
        """Images that are accepted and not answered."""
        return self._n_waiting

    async def embed(self, uploads: Sequence[Upload], sides: Sequence[str]) -> Vectors:
        """Embeddings (N, D) of images, each for its side ("left" or "right").

        Raises:
            Refusal: If too many images are waiting.
            DataError: If one cannot be read.
            TooLargeError: If one has too many pixels.
        """
        vectors: Vectors = await self.run(uploads, sides, _deliver_vectors)
        return vectors

    async def score(self, left: Upload, right: Upload) -> float:
        """Score of a pair; raises as ``embed`` does."""
        pair = (left, right)
        return float(await self.run(pair, ("left", "right"), self._score_pairs))

    async def run(
        self,
        uploads: Sequence[Upload],
        sides: Sequence[str],
        finish: Callable[[list[Job]], None],
        *,
        k: int = 0,
    ) -> Any:
        """What ``finish`` delivers for these images; raises as ``embed`` does."""
        with self.places(len(uploads)):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            with self._lock:
                self._n_decoding += 1
            self._decoder.submit(self._decode, Job(uploads, sides, finish, future, k))
            return await future

    @contextmanager
    def places(self, n: int) -> Iterator[None]:
        """Count ``n`` more images as waiting inside the block; for the event loop only.

        Raises:
            Refusal: If too many are waiting.
        """
        if self._n_waiting + n > self._settings.max_waiting:
            raise overloaded(f"{self._n_waiting} images are waiting")
        self._n_waiting += n
        try:
            yield
        finally:
            self._n_waiting -= n

    def check_header(self, upload: Upload) -> int:
        """Pixels of an image as its header says.

        Raises:
            DataError: If it is not an image.
            TooLargeError: If it has too many pixels.
        """
        limit = self._settings.max_pixels
        height, width, _ = header_in(io.BytesIO(upload.data), upload.name, limit)
        return height * width

    async def warm_up(self) -> None:
        """Run the model once alone and once on a full batch, as the first requests will."""
        loop = asyncio.get_running_loop()
        for n in (1, self._settings.batch_size):
            blanks, sides = [Upload("blank", b"")] * 2 * n, ("left", "right") * n
            job = Job(blanks, sides, _deliver_vectors, loop.create_future())
            job.loaded = [_blank(self._verifier, side) for side in sides]
            self._batcher.put(job)
            await job.future

    def close(self) -> None:
        """Finish what was accepted."""
        self._decoder.shutdown()
        self._large.shutdown()
        self._batcher.close()

    def _decode(self, job: Job) -> None:
        try:
            is_large = max(map(self.check_header, job.uploads)) > LARGE_PIXELS
        except Exception as error:
            return self._end_decoding(job, error)
        if is_large:
            self._large.submit(self._load, job)
        else:
            self._load(job)

    def _load(self, job: Job) -> None:
        try:
            job.loaded = [
                self._verifier.input_of(side).load(upload.data, upload.name)
                for upload, side in zip(job.uploads, job.sides, strict=True)
            ]
        except Exception as error:
            return self._end_decoding(job, error)
        self._end_decoding(job)
        self._batcher.put(job)

    def _end_decoding(self, job: Job, error: Exception | None = None) -> None:
        with self._lock:
            self._n_decoding -= 1
        if error is not None:
            deliver([(job.future, error)])

    def _embed_batch(self, jobs: list[Job]) -> None:
        images = [image for job in jobs for image in job.loaded]
        self._on_batch(len(images))
        vectors = self._embed(images, [side for job in jobs for side in job.sides])
        ends = np.cumsum([len(job.loaded) for job in jobs])
        # Jobs of one kind finish together: pairs are scored in one go as well.
        by_kind: dict[Callable[[list[Job]], None], list[Job]] = {}
        for job, part in zip(jobs, np.split(vectors, ends[:-1]), strict=True):
            job.vectors = part
            by_kind.setdefault(job.finish, []).append(job)
        for finish, finished in by_kind.items():
            finish(finished)

    def _embed(self, images: list[Any], sides: list[str]) -> Vectors:
        if self._verifier.shared:  # twins: both sides go through the one encoder
            return self._verifier.embed_loaded(images)
        vectors: Vectors | None = None
        for side in ("left", "right"):
            rows = [i for i, one in enumerate(sides) if one == side]
            if rows:
                part = self._verifier.embed_loaded([images[i] for i in rows], side)
                if vectors is None:
                    vectors = np.empty((len(images), part.shape[1]), np.float32)
                vectors[rows] = part
        assert vectors is not None  # no job is empty
        return vectors

    def _score_pairs(self, jobs: list[Job]) -> None:
        pairs = np.stack([job.vectors for job in jobs])  # (N, 2, D)
        scores = self._verifier.score(pairs[:, 0], pairs[:, 1])
        deliver([(job.future, score) for job, score in zip(jobs, scores, strict=True)])


def _deliver_vectors(jobs: list[Job]) -> None:
    deliver([(job.future, job.vectors) for job in jobs])


def _blank(verifier: Verifier, side: str) -> Any:
    """A loaded picture of nothing."""
    taken = verifier.input_of(side)
    if taken.input_shape is not None:
        return np.zeros(taken.input_shape, np.uint8)
    return taken.load(np.full((64, 64, 3), 255, np.uint8))
