"""Tables as they are printed, and the rows of results.json that come from them."""

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure; see ``record``."""

    benchmark: str
    model: str
    metric: str
    value: float


def print_table(
    title: str, head: Sequence[str], lines: Sequence[Sequence[str]], *notes: str
) -> None:
    """A title, columns that are as wide as their cells (numbers to the right), notes."""
    columns = zip(head, *lines, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    print(f"\n{title}")
    for line in (head, *lines):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        print(("  " + "  ".join(cells)).rstrip())
    for note in notes:
        print(f"  {note}")
    print(end="", flush=True)
