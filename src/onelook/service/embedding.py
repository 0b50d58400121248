"""Embedder: encoded images of many requests in, embeddings or scores out; off the event
loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.images import Preprocess, header_in
from onelook.service.batching import Asked, Batcher, deliver
from onelook.service.failures import overloaded
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

# Images above this many pixels are decoded beside the others and not before them. Below it
# one thread decodes: most of the time of a small drawing is Python, where two threads take
# each other's turns (0.62 ms for a drawing of Omniglot with one thread, 1.02 with two).
LARGE_PIXELS = 1_000_000

Vectors = NDArray[np.float32]  # (N, D)
# What is done with the embeddings of a batch of jobs, given with each job's future.
Finish = Callable[[list[tuple[Vectors, "asyncio.Future[Any]"]]], None]


@dataclass(frozen=True)
class Upload:
    """An encoded image.

    Args:
        name: Its name in messages: the field of the form, never the client's file name.
        data: The bytes of the file.
        filename: The client's name of the file, for answers only.
    """

    name: str
    data: bytes
    filename: str = ""


@dataclass(eq=False)
class Job:
    """The images of one request, and what is done with their embeddings."""

    uploads: Sequence[Upload]
    sides: Sequence[str]
    finish: Finish
    loaded: list[Any] = field(default_factory=list)


class Embedder:
    """Decodes in threads, embeds in batches.

    Args:
        verifier: The model.
        settings: Limits, and the sizes of batches.
        on_batch: Is told the number of images of every batch.
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
        self._large = ThreadPoolExecutor(os.cpu_count() or 1, "onelook-decode-large")
        self._decoder: Batcher[Job] = Batcher(
            self._decode_batch, settings.batch_size, name="onelook-decode"
        )
        self._embedder: Batcher[Job] = Batcher(
            self._embed_batch,
            settings.batch_size,
            settings.batch_wait,
            lambda job: len(job.uploads),
            lambda: self._n_decoding,
            "onelook-embed",
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
        vectors: Vectors = await self.run(Job(uploads, sides, _deliver_vectors))
        return vectors

    async def score(self, left: Upload, right: Upload) -> float:
        """Score of a pair; raises as ``embed`` does."""
        job = Job((left, right), ("left", "right"), self._score_pairs)
        return float(await self.run(job))

    async def run(self, job: Job) -> Any:
        """Whatever the job's ``finish`` delivers; raises as ``embed`` does."""
        with self.places(len(job.uploads)):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            with self._lock:
                self._n_decoding += 1
            self._decoder.put(job, future)
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
            DataError: If it is no image.
            TooLargeError: If it has too many pixels.
        """
        limit = self._settings.max_pixels
        height, width, _ = header_in(upload.data, upload.name, limit)
        return height * width

    async def warm_up(self) -> None:
        """Run the model once alone and once on a full batch, as the first requests will."""
        loop = asyncio.get_running_loop()
        for n in (1, self._settings.batch_size):
            sides = ("left", "right")
            job = Job([Upload("blank", b"")] * 2 * n, sides * n, _deliver_vectors)
            job.loaded = [_blank(self._verifier, side) for side in job.sides]
            future: asyncio.Future[Any] = loop.create_future()
            self._embedder.put(job, future)
            await future

    def close(self) -> None:
        """Finish what was accepted."""
        self._decoder.close()
        self._large.shutdown()
        self._embedder.close()

    def _decode_batch(self, asked: list[Asked[Job]]) -> None:
        for job, future in asked:
            try:
                is_large = max(map(self.check_header, job.uploads)) > LARGE_PIXELS
            except Exception as error:
                self._end_decoding(future, error)
                continue
            if is_large:
                self._large.submit(self._load, job, future)
            else:
                self._load(job, future)

    def _load(self, job: Job, future: "asyncio.Future[Any]") -> None:
        try:
            job.loaded = [
                self._verifier.preprocess_of(side).load_bytes(upload.data, upload.name)  # type: ignore[union-attr]
                for upload, side in zip(job.uploads, job.sides, strict=True)
            ]
        except Exception as error:
            return self._end_decoding(future, error)
        self._end_decoding(future)
        self._embedder.put(job, future)

    def _end_decoding(
        self, future: "asyncio.Future[Any]", error: Exception | None = None
    ) -> None:
        with self._lock:
            self._n_decoding -= 1
        if error is not None:
            deliver([(future, error)])

    def _embed_batch(self, asked: list[Asked[Job]]) -> None:
        images = [image for job, _ in asked for image in job.loaded]
        sides = [side for job, _ in asked for side in job.sides]
        self._on_batch(len(images))
        vectors = self._embed(images, sides)
        ends = np.cumsum([len(job.loaded) for job, _ in asked])
        parts = np.split(vectors, ends[:-1])
        # Jobs of one kind finish together: pairs are scored in one go as well.
        by_kind: dict[Finish, list[tuple[Vectors, asyncio.Future[Any]]]] = {}
        for (job, future), part in zip(asked, parts, strict=True):
            by_kind.setdefault(job.finish, []).append((part, future))
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

    def _score_pairs(self, pairs: list[tuple[Vectors, "asyncio.Future[Any]"]]) -> None:
        both = np.stack([vectors for vectors, _ in pairs])  # (N, 2, D)
        scores = self._verifier.score(both[:, 0], both[:, 1])
        futures = [future for _, future in pairs]
        deliver(zip(futures, scores.tolist(), strict=True))


def _deliver_vectors(finished: list[tuple[Vectors, "asyncio.Future[Any]"]]) -> None:
    deliver((future, vectors) for vectors, future in finished)


def _blank(verifier: Verifier, side: str) -> Any:
    """What preprocessing would make of a white picture."""
    preprocess = verifier.preprocess_of(side)
    if isinstance(preprocess, Preprocess):
        return np.zeros(preprocess.input_shape, np.uint8)
    return Image.new("RGB", (64, 64), "white")
