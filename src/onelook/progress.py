"""Progress on standard error, as a bar or a line every 30 seconds; a safe Ctrl-C."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")

LINE_SECONDS = 30.0


@contextmanager
def progress_bar(
    what: str, total: int | None, *, shown: bool = True, done: int = 0, unit: str = ""
) -> Iterator[Callable[..., None]]:
    """A function ``advance(n, text="")`` that reports ``n`` more items as done.

    ``unit`` is what is counted; ``"bytes"`` are shown as megabytes.
    """
    if not shown:
        yield lambda n=1, text="": None
        return
    from rich import console as consoles
    from rich import progress as bars

    console = consoles.Console(stderr=True)
    bar = bars.Progress(
        "{task.description}",
        bars.BarColumn(),
        bars.DownloadColumn() if unit == "bytes" else bars.MofNCompleteColumn(),
        "{task.fields[text]}",
        bars.TimeElapsedColumn(),
        "left",
        bars.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(what, total=total, completed=done, text="")
    begun, ended = time.monotonic(), threading.Event()

    def advance(n: int = 1, text: str = "") -> None:
        bar.update(task, advance=n, text=text)

    def print_lines() -> None:
        while not ended.wait(LINE_SECONDS):
            now, words = int(bar.tasks[0].completed), str(bar.tasks[0].fields["text"])
            line = _line(what, now, total, done, time.monotonic() - begun, words)
            print(line, file=sys.stderr, flush=True)

    if not console.is_terminal:
        threading.Thread(target=print_lines, daemon=True).start()
    try:
        with bar:
            yield advance
    finally:
        ended.set()


def _line(
    what: str, now: int, total: int | None, done: int, seconds: float, text: str
) -> str:
    """The state of some work, such as ``embedding: 5,120 of 20,000, 0:30, 1:27 left``."""
    counted = f"{now:,}" if total is None else f"{now:,} of {total:,}"
    parts = [f"{what}: {counted}", text, _clock(seconds)]
    if total is not None and now > done:
        parts.append(f"{_clock(seconds * (total - now) / (now - done))} left")
    return ", ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tracked(
    items: Iterable[Item], what: str, shown: bool = True, total: int | None = None
) -> Iterator[Item]:
    """The items, with progress reported as they are used."""
    n_items = len(items) if total is None and isinstance(items, Sized) else total
    with progress_bar(what, n_items, shown=shown) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event set by the first Ctrl-C; a second Ctrl-C interrupts at once as usual."""
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
