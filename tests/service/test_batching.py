"""Batcher: what is waiting is done together, and no request waits longer than it must."""

import asyncio
import threading
import time

import pytest

from onelook.service.batching import Batcher, Job, Upload, deliver


class Work:
    """Doubles the numbers of jobs; can be held up; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, jobs) -> None:
        self.batches.append([job.k for job in jobs])
        assert self.go.wait(10)
        if any(job.k < 0 for job in jobs):
            raise ValueError("a negative number")
        deliver([(job.future, 2 * job.k) for job in jobs])


async def ask(batcher: Batcher, *numbers: int, n_images: int = 1) -> list:
    """The answers to jobs of so many images each."""
    loop, uploads = asyncio.get_running_loop(), [Upload("image", b"")] * n_images
    futures = [loop.create_future() for _ in numbers]
    for number, future in zip(numbers, futures, strict=True):
        batcher.put(Job(uploads, ["left"] * n_images, future, k=number))
    return await asyncio.gather(*futures, return_exceptions=True)


def test_what_gathers_while_a_batch_is_in_work_is_the_next_batch():
    work = Work()
    work.go.clear()
    batcher = Batcher(work, largest=4)

    async def scenario():
        asked = asyncio.create_task(ask(batcher, 0, 1, 2, 3, 4, 5, 6))
        await asyncio.sleep(0.1)
        work.go.set()
        return await asked

    assert asyncio.run(scenario()) == [0, 2, 4, 6, 8, 10, 12]
    batcher.close()
    assert sum(work.batches, []) == list(range(7))
    assert max(map(len, work.batches)) == 4


def test_a_lone_job_does_not_wait():
    batcher = Batcher(Work(), largest=32, wait=10.0)
    begun = time.monotonic()
    assert asyncio.run(ask(batcher, 3)) == [6]
    assert time.monotonic() - begun < 5
    batcher.close()


def test_a_batch_waits_for_what_is_coming_but_not_for_ever():
    work = Work()
    batcher = Batcher(work, largest=32, wait=0.3, coming=lambda: 1)
    begun = time.monotonic()

    async def scenario():
        first = asyncio.create_task(ask(batcher, 1))
        await asyncio.sleep(0.05)
        return await asyncio.gather(first, ask(batcher, 2))

    assert asyncio.run(scenario()) == [[2], [4]]
    assert time.monotonic() - begun >= 0.3
    assert work.batches == [[1, 2]]
    batcher.close()


def test_a_full_batch_goes_at_once():
    work = Work()
    batcher = Batcher(work, largest=6, wait=30.0, coming=lambda: 1)
    begun = time.monotonic()
    assert asyncio.run(ask(batcher, 3, 2, 1, n_images=2)) == [6, 4, 2]
    assert work.batches == [[3, 2, 1]]
    assert time.monotonic() - begun < 15
    batcher.close()


def test_an_error_goes_to_its_batch_and_the_thread_goes_on():
    batcher = Batcher(Work(), largest=1)

    async def scenario():
        return await ask(batcher, 1, -1, 2)

    first, error, last = asyncio.run(scenario())
    assert (first, last) == (2, 4)
    assert isinstance(error, ValueError) and str(error) == "a negative number"
    batcher.close()


def test_closing_does_what_is_queued_and_takes_no_more():
    work = Work()
    work.go.clear()
    batcher = Batcher(work, largest=2)

    async def scenario():
        asked = asyncio.create_task(ask(batcher, *range(9)))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        work.go.set()
        await closing
        return await asked

    assert asyncio.run(scenario()) == [2 * i for i in range(9)]
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(ask(batcher, 1))


def test_an_answer_whose_caller_has_gone_is_dropped():
    work = Work()
    work.go.clear()
    batcher = Batcher(work, largest=8)

    async def scenario():
        asked = asyncio.create_task(ask(batcher, 1))
        await asyncio.sleep(0.05)
        asked.cancel()
        work.go.set()
        return await ask(batcher, 2)

    assert asyncio.run(scenario()) == [4]
    batcher.close()
