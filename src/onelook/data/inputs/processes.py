"""Preparing images in threads or helper processes (run with ``python -m`` this module).

Framing ink is many small steps of Python, and two threads would only wait for each other's
interpreter lock. A plain child process is used, not ``multiprocessing``, which would run a
user's unguarded script a second time.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from onelook.errors import DataError

if TYPE_CHECKING:
    from onelook.data.inputs.images import Chunk, Preprocess


def load_in_processes(
    preprocess: "Preprocess", parts: deque[Sequence[str]], n_processes: int
) -> Iterator["Chunk"]:
    """The chunk of every part in their order, few of them held in memory.

    Raises:
        DataError: If a process ends before its work is done.
    """
    helpers = [Helper(preprocess) for _ in range(n_processes)]
    free: SimpleQueue[Helper] = SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def load(part: Sequence[str]) -> "Chunk":
        helper = free.get()
        try:
            return helper.load(part)
        finally:
            free.put(helper)

    try:
        # These threads only wait for the answers of the processes.
        yield from in_order(load, parts, n_processes)
    finally:
        for helper in helpers:
            helper.close()


def in_order(
    load: Callable[[Sequence[str]], "Chunk"], parts: deque[Sequence[str]], n_threads: int
) -> Iterator["Chunk"]:
    """``load`` of every part, by threads, in the order of the parts; few are in memory."""
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="onelook-prepare")
    waiting: deque[Future[Chunk]] = deque()
    try:
        while parts or waiting:
            while parts and len(waiting) < 4 * n_threads:
                waiting.append(pool.submit(load, parts.popleft()))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class Helper:
    """A child process that prepares images as ``preprocess`` says."""

    def __init__(self, preprocess: "Preprocess") -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "onelook.data.inputs.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread each: the processes share the cores.
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self._send(preprocess.to_dict())

    def load(self, addresses: Sequence[str]) -> "Chunk":
        """Pixels of the addresses, in their order."""
        assert self._process.stdout is not None
        try:
            self._send(list(addresses))
            chunk: Chunk = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            raise DataError(
                f"a process that prepared images ended with code {code} at "
                f"{addresses[0]} or one of the {len(addresses) - 1} after it; if memory "
                "ran out, close other programs and run again"
            ) from error
        return chunk

    def close(self) -> None:
        """End the process; what it was sent is finished before."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                pass  # the process ended before it had read everything
        self._process.wait()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()


def serve() -> None:
    """Read settings, then addresses, from standard input until it ends; write chunks."""
    # Imported here, since images imports this file.
    from onelook.data.inputs.images import Preprocess

    # Ctrl-C reaches the whole group; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    preprocess = Preprocess.from_dict(pickle.load(requests))
    while True:
        try:
            addresses = pickle.load(requests)
        except EOFError:
            return
        try:
            pickle.dump(next(preprocess.load_chunks(addresses, workers=1)), answers)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)  # the reader is gone; a flush at exit would fail again


if __name__ == "__main__":
    serve()
