"""A progress bar with the time left, on standard error, where a person can see it."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def tracked(
    items: Iterable[Item], what: str, shown: bool = True, total: int | None = None
) -> Iterator[Item]:
    """The items, under a bar called ``what``.

    Args:
        items: Things to work through.
        what: The work, as a word: ``"embedding"``.
        shown: Whether to draw at all; nothing is drawn where no person looks on.
        total: How many there are, for items that do not know their number.
    """
    console = Console(stderr=True)
    n_items = len(items) if total is None and isinstance(items, Sized) else total
    yield from track(
        items,
        what,
        total=n_items,
        console=console,
        transient=True,
        disable=not shown or not console.is_terminal,
    )
