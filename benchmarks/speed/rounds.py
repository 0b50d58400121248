"""Contenders take turns, and stand still while another one has its turn.

Each contender is a process, so that none lends another its threads, its memory or its
caches. A turn is a few optimizer steps. Between turns a contender is stopped with all of
its workers (SIGSTOP): they can neither steal the others' time nor decode ahead. Machines
drift, so the turns go round, a b c d, a b c d, and a ratio is the median of its rounds.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

BENCHMARKS = Path(__file__).parents[1]


class Contender:
    """A process of its own that works when it is told to.

    Args:
        command: Starts it; it calls ``serve``.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own: its workers stop with it
        )
        self._answer()  # it has warmed up
        self._signal(signal.SIGSTOP)

    def turn(self, steps: int) -> Any:
        """Let it do that many steps; returns what it answers."""
        self._signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End it and its workers."""
        self._signal(signal.SIGKILL)
        self.process.communicate()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate()
            raise SystemExit(f"{self.process.args} ended with {self.process.returncode}")
        return json.loads(line)

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


def serve(step: Callable[[], int], warm_up: int) -> None:
    """Be a contender: answer each number of steps with images and seconds.

    Args:
        step: Does one step; gives the number of images in it.
        warm_up: Steps that are not counted.
    """
    for _ in range(warm_up):
        step()
    answer({"ready": True})
    for line in sys.stdin:
        begun = perf_counter()
        images = sum(step() for _ in range(int(line)))
        answer({"images": images, "seconds": perf_counter() - begun})


def answer(content: dict[str, Any]) -> None:
    """A line for the parent."""
    print(json.dumps(content), flush=True)


def rates_in_rounds(
    contenders: dict[str, Contender], rounds: int, steps: int
) -> dict[str, list[float]]:
    """Images/s of every contender in every round."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            result = contender.turn(steps)
            rates[name].append(result["images"] / result["seconds"])
    return rates


def ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    """How many times as fast ``one`` is as ``other``: the median of the rounds' ratios."""
    pairs = zip(rates[one], rates[other], strict=True)
    return median(fast / slow for fast, slow in pairs)
