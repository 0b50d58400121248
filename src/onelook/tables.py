"""Figures for people: on a terminal, in a notebook, in a data frame."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from onelook.errors import OnelookError

# Names and texts.
Rows = Sequence[tuple[str, str]]
# Names of figures, values, and 95% intervals where there are any.
Figures = Sequence[tuple[str, float, tuple[float, float] | None]]


def counted(n: int, thing: str, things: str = "") -> str:
    """A number with its noun: "1 image", "2 images"."""
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"


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


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a protocol measured, and the name of the scorer."""

    protocol: str
    model: str

    def figures(self) -> Figures:
        """Names, values and 95% intervals of the figures that could be measured."""
        raise NotImplementedError

    def rows(self) -> Rows:
        """Names and texts for people, first of all how much was measured."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return asdict(self)

    def to_frame(self) -> Any:
        """A pandas DataFrame with the columns figure, value, low and high."""
        rows = [
            (name, value, *(ends or (None, None))) for name, value, ends in self.figures()
        ]
        return data_frame(rows, ["figure", "value", "low", "high"])

    def __str__(self) -> str:
        return f"{self.model}: {self.protocol}\n{aligned(self.rows())}"

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value:.4f}" for name, value, _ in self.figures())
        items, number = self.rows()[0]
        return f"<{type(self).__name__} of {self.model}: {figures}; {items}: {number}>"

    def _repr_html_(self) -> str:
        return html_table(f"{self.model}: {self.protocol}", self.rows())


def data_frame(rows: Sequence[Any], columns: Sequence[str] | None = None) -> Any:
    """A pandas DataFrame of tuples, or of dicts by column."""
    try:
        import pandas
    except ImportError as error:
        raise OnelookError("to_frame needs pandas: pip install pandas") from error
    return pandas.DataFrame(rows, columns=columns)
