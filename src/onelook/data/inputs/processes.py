"""Work on parts of a list in threads or in helper processes, answered in order.

Framing ink is many small steps of Python, and two threads would only wait for each other's
interpreter lock. A plain child process is used, not ``multiprocessing``, which would run a
user's unguarded script a second time. Nothing is started before the first part is asked.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

from onelook.errors import DataError

Part = Sequence[tuple[str, Any]]  # items with their names
Result = TypeVar("Result")
Work = Callable[[Part], Result]


def in_threads(
    work: Work[Result], parts: Iterable[Part], n_threads: int
) -> Iterator[Result]:
    """``work`` of every part, in the order of the parts; few are held in memory."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="onelook-prepare")
    try:
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) == 4 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def in_processes(
    work: Work[Result], parts: Iterable[Part], n_processes: int
) -> Iterator[Result]:
    """As ``in_threads``; ``work`` and what it gives must be picklable."""
    free: SimpleQueue[Helper] = SimpleQueue()
    for _ in range(n_processes):
        free.put(Helper(work))

    def ask(part: Part) -> Result:
        helper = free.get()
        try:
            answer: Result = helper.ask(part)
        finally:
            free.put(helper)
        return answer

    try:
        # These threads only wait for the answers of the processes.
        yield from in_threads(ask, parts, n_processes)
    finally:
        for _ in range(n_processes):
            free.get().close()


class Helper:
    """A child process that does ``work`` on every part that it is asked about."""

    def __init__(self, work: Work[Any]) -> None:
        self._process = subprocess.Popen(
            # Without -P, Python would import from the current folder first.
            [sys.executable, "-P", "-c", f"import {__name__} as m; m.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread each: the processes share the cores.
            env={**os.environ, "PYTHONPATH": _import_path(), "OMP_NUM_THREADS": "1"},
        )
        self._send(work)

    def ask(self, part: Part) -> Any:
        """What ``work`` gives for a part."""
        assert self._process.stdout is not None
        try:
            self._send(part)
            return pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            code = self._process.wait()
            raise DataError(
                f"a process that prepared images ended with code {code} at {part[0][0]} or "
                f"one of the {len(part) - 1} after it; if memory ran out, close other "
                "programs and run again"
            ) from error

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


def _import_path() -> str:
    """Where this process imports from, without the current folder."""
    here = os.path.realpath(os.getcwd())
    paths = [os.path.abspath(path) for path in sys.path if path]
    return os.pathsep.join(path for path in paths if os.path.realpath(path) != here)


def serve() -> None:
    """Read the work, then parts, from standard input until it ends; write the results."""
    # Ctrl-C reaches the whole group; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    work = pickle.load(requests)
    while True:
        try:
            part = pickle.load(requests)
        except EOFError:
            return
        try:
            pickle.dump(work(part), answers)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)  # the parent is gone; a flush at exit would fail again
