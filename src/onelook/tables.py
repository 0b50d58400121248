"""Figures for people: on a terminal, in a notebook, in a data frame."""

from collections.abc import Sequence
from html import escape
from typing import Any

from onelook.errors import OnelookError

# Names and texts.
Rows = Sequence[tuple[str, str]]
# Names of figures, values, and 95% intervals where there are any.
Figures = Sequence[tuple[str, float, tuple[float, float] | None]]


def aligned(rows: Rows) -> str:
    """Indented lines of two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:{width}}  {text}" for name, text in rows)


def html_table(title: str, rows: Rows) -> str:
    """An HTML table with a caption, for notebooks."""
    style = 'style="text-align:left"'
    body = "".join(
        f"<tr><th {style}>{escape(name)}</th><td {style}>{escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<table><caption {style}>{escape(title)}</caption>{body}</table>"


def to_frame(figures: Figures) -> Any:
    """A pandas DataFrame with the columns figure, value, low and high.

    Raises:
        OnelookError: If pandas is not installed.
    """
    rows = [(name, value, *(ends or (None, None))) for name, value, ends in figures]
    return data_frame(rows, ["figure", "value", "low", "high"])


def data_frame(rows: Sequence[Any], columns: Sequence[str] | None = None) -> Any:
    """A pandas DataFrame of tuples, or of dicts by column.

    Raises:
        OnelookError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise OnelookError("to_frame needs pandas: pip install pandas") from error
    return pandas.DataFrame(rows, columns=columns)
