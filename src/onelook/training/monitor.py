"""What a person sees of a training: progress, a journal on disk, a Ctrl-C that is safe."""

import json
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from onelook.files import write_whole


class Journal:
    """A JSON-lines file, one row a log step or validation, without rows that a kill
    undid."""

    def __init__(self, path: Path, history: list[dict[str, float]]) -> None:
        self.path = path
        self.history = history
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(json.dumps(row) + "\n" for row in history))

    def add(self, row: dict[str, float]) -> None:
        self.history.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class Speed:
    """Images a second over the last steps."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=50)

    def add(self, n_images: int) -> None:
        self._marks.append((time.monotonic(), self._marks[-1][1] + n_images))

    @property
    def per_second(self) -> float:
        (begin, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / max(end - begin, 1e-9)


@contextmanager
def progress_bar(
    name: str, n_steps: int, done: int, show: bool
) -> Iterator[Callable[[int, str], None]]:
    """A function ``(step, text)`` that moves a bar with the time left on standard error."""
    console = Console(stderr=True)
    with Progress(
        TextColumn(name),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not show or not console.is_terminal,
    ) as bar:
        task = bar.add_task(name, total=n_steps, completed=done, text="")
        yield lambda step, text: bar.update(task, completed=step, text=text)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; a second Ctrl-C stops at once as usual."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread may handle signals
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)
