"""Batching: what many requests want at the same time is done in one go, by one thread."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """A queue before one thread that takes as many items at a time as are there.

    While a batch is in work the next one gathers, so that batches grow with the load by
    themselves. A batch that is not full waits only while others are on their way, and at
    most ``wait`` seconds: a lone request never waits.

    Args:
        work: Answers a batch, one answer for each item in order.
        largest: Items of one batch at most.
        wait: Seconds that a batch is kept open at most.
        coming: How many items are on their way; none by default.
        on_batch: Is told the size of every batch.
        name: Of the thread.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], list[Answer]],
        largest: int,
        wait: float = 0.0,
        coming: Callable[[], int] = lambda: 0,
        on_batch: Callable[[int], object] = lambda size: None,
        name: str = "onelook-batch",
    ) -> None:
        self._work = work
        self._largest = largest
        self._wait = wait
        self._coming = coming
        self._on_batch = on_batch
        self._queue: deque[tuple[Item, Future[Answer]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, future: Future[Answer] | None = None) -> Future[Answer]:
        """Queue an item; the future of its answer (``future`` itself where it is given).

        Raises:
            RuntimeError: If the batcher is closed.
        """
        future = future or Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._queue.append((item, future))
            # Waking the thread costs more than an item: only when it has cause to go on.
            n = len(self._queue)
            if n == 1 or n >= self._largest or not self._coming():
                self._changed.notify()
        return future

    def close(self) -> None:
        """Answer what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._take():
            self._on_batch(len(batch))
            try:
                answers = self._work([item for item, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    future.set_result(answer)
            # Whatever went wrong belongs to those who asked, never to this thread.
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)

    def _take(self) -> list[tuple[Item, Future[Answer]]]:
        """The next batch; empty at the end."""
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                self._gather()
                n = min(len(self._queue), self._largest)
                taken = [self._queue.popleft() for _ in range(n)]
            if not taken:
                return []
            # Those that nobody waits for any more are left out.
            wanted = [one for one in taken if one[1].set_running_or_notify_cancel()]
            if wanted:
                return wanted

    def _gather(self) -> None:
        """Wait for more, while there is more to come."""
        ends = time.monotonic() + self._wait
        while len(self._queue) < self._largest and self._coming() and not self._closed:
            left = ends - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)
