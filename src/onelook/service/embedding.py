"""Embedder: encoded images of many requests in, embeddings out; off the event loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.images import Preprocess, header_in
from onelook.service.batching import Batcher
from onelook.service.failures import overloaded
from onelook.service.settings import ServiceSettings
from onelook.verifier import Verifier

# Images above this many pixels are decoded beside the others and not before them. Below it
# one thread decodes: most of the time of a small drawing is Python, where two threads take
# each other's turns (0.62 ms for a drawing of Omniglot with one thread, 1.02 with two).
LARGE_PIXELS = 1_000_000

Vector = NDArray[np.float32]  # (D,)


@dataclass(frozen=True)
class Upload:
    """An encoded image and what messages call it: the field's name, never the client's."""

    name: str
    data: bytes


class Embedder:
    """Decodes in threads, embeds in batches.

    Args:
        verifier: The model.
        settings: Limits, and the sizes of batches.
        on_batch: Is told the size of every batch.
    """

    def __init__(
        self,
        verifier: Verifier,
        settings: ServiceSettings,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._verifier = verifier
        self._settings = settings
        self._lock = threading.Lock()
        self._n_waiting = 0
        self._n_decoding = 0
        cores = os.cpu_count() or 1
        self._small = ThreadPoolExecutor(1, "onelook-decode")
        self._large = ThreadPoolExecutor(cores, "onelook-decode-large")
        self._batcher: Batcher[tuple[Any, str], Vector] = Batcher(
            self._embed_batch,
            settings.batch_size,
            settings.batch_wait,
            lambda: self._n_decoding,
            on_batch,
            "onelook-embed",
        )

    @property
    def n_waiting(self) -> int:
        """Images that are accepted and not answered."""
        return self._n_waiting

    async def embed(self, uploads: Sequence[Upload], sides: Sequence[str]) -> list[Vector]:
        """Embeddings of images, each for its side ("left" or "right").

        Raises:
            Refusal: If too many images are waiting.
            DataError: If one cannot be read.
            TooLargeError: If one has too many pixels.
        """
        self._take_places(len(uploads))
        futures = [
            self._start(upload, side) for upload, side in zip(uploads, sides, strict=True)
        ]
        return await asyncio.gather(*map(asyncio.wrap_future, futures))

    @contextmanager
    def places(self, n: int) -> Iterator[None]:
        """Count ``n`` more images as waiting inside the block.

        Raises:
            Refusal: If too many are waiting.
        """
        self._take_places(n)
        try:
            yield
        finally:
            self._leave_places(n)

    def _take_places(self, n: int) -> None:
        with self._lock:
            if self._n_waiting + n > self._settings.max_waiting:
                raise overloaded(f"{self._n_waiting} images are waiting")
            self._n_waiting += n

    def _leave_places(self, n: int) -> None:
        with self._lock:
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

    def warm_up(self) -> None:
        """Run the model once alone and once on a full batch, as the first requests will."""
        for side in ("left", "right"):
            blank = _blank(self._verifier, side)
            for n in (1, self._settings.batch_size):
                for future in [self._batcher.put((blank, side)) for _ in range(n)]:
                    future.result()

    def close(self) -> None:
        """Finish what was accepted."""
        self._small.shutdown()
        self._large.shutdown()
        self._batcher.close()

    def _start(self, upload: Upload, side: str) -> Future[Vector]:
        future: Future[Vector] = Future()
        future.add_done_callback(lambda _: self._leave_places(1))
        with self._lock:
            self._n_decoding += 1
        self._small.submit(self._decode, upload, side, future)
        return future

    def _decode(self, upload: Upload, side: str, future: Future[Vector]) -> None:
        try:
            if self.check_header(upload) > LARGE_PIXELS:
                self._large.submit(self._load, upload, side, future)
                return
        except Exception as error:
            self._end_decoding()
            return _fail(future, error)
        self._load(upload, side, future)

    def _load(self, upload: Upload, side: str, future: Future[Vector]) -> None:
        try:
            loaded = self._preprocess(side).load_bytes(upload.data, upload.name)
        except Exception as error:
            self._end_decoding()
            return _fail(future, error)
        self._end_decoding()
        self._batcher.put((loaded, side), future)

    def _end_decoding(self) -> None:
        with self._lock:
            self._n_decoding -= 1

    def _preprocess(self, side: str) -> Any:
        return self._verifier.preprocess_of(side)

    def _embed_batch(self, items: list[tuple[Any, str]]) -> list[Vector]:
        vectors: list[Vector | None] = [None] * len(items)
        # Twins share one encoder, so both sides go in one batch.
        key = (lambda side: "left") if self._verifier.shared else (lambda side: side)
        for one in sorted({key(side) for _, side in items}):
            rows = [i for i, (_, side) in enumerate(items) if key(side) == one]
            embedded = self._verifier.embed_loaded([items[i][0] for i in rows], one)
            for i, vector in zip(rows, embedded, strict=True):
                vectors[i] = vector
        return [vector for vector in vectors if vector is not None]


def _fail(future: Future[Vector], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _blank(verifier: Verifier, side: str) -> Any:
    """What preprocessing would make of a white picture."""
    preprocess = verifier.preprocess_of(side)
    if isinstance(preprocess, Preprocess):
        return np.zeros(preprocess.input_shape, np.uint8)
    return Image.new("RGB", (64, 64), "white")
