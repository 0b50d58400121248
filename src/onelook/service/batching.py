"""Batching: what many requests want at the same time is done in one go, by one thread."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Asked = tuple[Item, "asyncio.Future[Any]"]


class Batcher(Generic[Item]):
    """A queue before one thread that takes as many items at a time as are there.

    While a batch is in work the next one gathers, so that batches grow with the load by
    themselves. A batch that is not full waits only while others are on their way, and at
    most ``wait`` seconds: a lone request never waits.

    Args:
        work: Does a batch of (item, future) and sees to it that each future gets its
            answer (``deliver``). Where it raises, all of the batch get the error.
        largest: Size of a batch from which no more is added.
        wait: Seconds that a batch is kept open at most.
        size: Of an item; 1 by default.
        coming: How many items are on their way; none by default.
        name: Of the thread.
    """

    def __init__(
        self,
        work: Callable[[list[Asked[Item]]], None],
        largest: int,
        wait: float = 0.0,
        size: Callable[[Item], int] = lambda item: 1,
        coming: Callable[[], int] = lambda: 0,
        name: str = "onelook-batch",
    ) -> None:
        self._work = work
        self._largest = largest
        self._wait = wait
        self._size = size
        self._coming = coming
        self._queue: deque[Asked[Item]] = deque()
        self._queued = 0  # sum of the sizes
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, future: "asyncio.Future[Any]") -> None:
        """Queue an item, from any thread, whose answer ``future`` will hold.

        Raises:
            RuntimeError: If the batcher is closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._queue.append((item, future))
            self._queued += self._size(item)
            # Waking the thread costs as much as an item: only when it has cause to go on.
            is_first = len(self._queue) == 1
            if is_first or self._queued >= self._largest or not self._coming():
                self._changed.notify()

    def close(self) -> None:
        """Do what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._work(batch)
            # Whatever went wrong belongs to those who asked, never to this thread.
            except BaseException as error:
                deliver((future, error) for _, future in batch)

    def _take(self) -> list[Asked[Item]]:
        """The next batch; empty at the end."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            self._gather()
            batch: list[Asked[Item]] = []
            size = 0
            while self._queue and size < self._largest:
                batch.append(self._queue.popleft())
                size += self._size(batch[-1][0])
            self._queued -= size
            return batch

    def _gather(self) -> None:
        """Wait for more, while there is more to come."""
        ends = time.monotonic() + self._wait
        while self._queued < self._largest and self._coming() and not self._closed:
            left = ends - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)


def deliver(answers: Iterable[tuple["asyncio.Future[Any]", Any]]) -> None:
    """Give futures their answers, from any thread; an exception is raised where it is
    awaited.

    An event loop is woken once for all of them: each waking lets it take the interpreter
    from the thread that has the next batch to do.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, answer in answers:
        by_loop.setdefault(future.get_loop(), []).append((future, answer))
    for loop, pairs in by_loop.items():
        loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, answer in pairs:
        if future.done():  # its caller has gone
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
