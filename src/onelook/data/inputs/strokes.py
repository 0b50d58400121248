"""StrokeInput: the pen strokes of a drawing as points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs.decoding import Item, content_of, name_of
from onelook.data.inputs.sequences import Sequences, padded
from onelook.data.inputs.stores import SequenceStore
from onelook.data.reading import refuse_bad
from onelook.errors import DataError
from onelook.recipe import SequenceSettings


@dataclass(frozen=True)
class StrokeInput:
    """Pen strokes of Omniglot's files to points (dx, dy, pen up).

    The ink is resampled at even distances, so that the speed of the hand is gone, to at
    most ``max_length`` points; sizes are divided by the longer side of the drawing. dx and
    dy lead from the point before (for the first point: from the centre of the drawing),
    also across a gap; y grows upwards, as in the files. Pen up is 1 at the last point of a
    stroke.

    A file has the lines ``START``, then ``x,y,t`` for each point, with ``BREAK`` after each
    stroke.
    """

    settings: SequenceSettings

    kind: ClassVar[str] = "strokes"
    suffixes: ClassVar[frozenset[str]] = frozenset({".txt"})
    subject: ClassVar[str] = ""
    input_shape: ClassVar[None] = None
    normalisation: ClassVar[None] = None

    @classmethod
    def fit(cls, addresses: Sequence[str], settings: SequenceSettings) -> "StrokeInput":
        """An input with these settings: strokes have nothing to learn from the data."""
        return cls(settings)

    def load(self, item: Item, name: str = "strokes") -> NDArray[np.float32]:
        """Points (T, 3) of one file, or of its bytes."""
        strokes = read_strokes(item, name)
        inked = np.concatenate(strokes)
        low, high = inked.min(axis=0), inked.max(axis=0)
        size = float((high - low).max()) or 1.0
        centred = [(stroke - (low + high) / 2) / size for stroke in strokes]
        resampled = _resample(centred, self.settings.max_length)
        points = np.concatenate(resampled)[: self.settings.max_length]
        ends = np.cumsum([len(stroke) for stroke in resampled]) - 1
        pen_up = np.isin(np.arange(len(points)), ends)
        steps = np.diff(points, axis=0, prepend=np.zeros((1, 2)))
        return np.column_stack([steps, pen_up]).astype(np.float32)

    def load_many(self, items: Sequence[Item]) -> Sequences:
        """Points (N, T, 3) of N stroke files."""
        return padded([self.load(item, f"strokes {i}") for i, item in enumerate(items, 1)])

    def store(
        self, addresses: Sequence[str], skip_bad: bool = False, progress: bool = True
    ) -> SequenceStore:
        """The store of all distinct stroke files."""
        distinct = sorted(set(addresses))
        bad: list[tuple[str, str]] = []
        kept: dict[str, NDArray[np.float32]] = {}
        for address in distinct:
            try:
                kept[address] = self.load(address)
            except DataError as error:
                bad.append((address, str(error).removeprefix(f"{address}: ")))
        if not skip_bad or not kept:
            refuse_bad(bad, len(distinct), "stroke files", skippable=not skip_bad)
        return SequenceStore(padded([*kept.values()]), [*kept], bad)

    def to_inputs(self, loaded: Any) -> dict[str, NDArray[Any]]:
        """``values`` (N, T, 3) float32 and ``lengths`` (N,) of loaded strokes."""
        return padded(loaded)._asdict()

    def example(self) -> list[NDArray[np.float32]]:
        """The points of a longer and of a shorter drawing."""
        rng = np.random.default_rng(0)
        return [rng.normal(size=(n, 3)).astype(np.float32) for n in (33, 20)]

    def content(self, item: Item, name: str = "strokes") -> bytes:
        return content_of(item, name)

    def picture(self, loaded: Any) -> None:
        """None: strokes are no picture."""

    def encoder_arguments(self) -> dict[str, Any]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "StrokeInput":
        return cls(SequenceSettings(**content))


def read_strokes(item: Item, name: str = "strokes") -> list[NDArray[np.float64]]:
    """The strokes of an Omniglot file in the order drawn: (n, 2) of x and y, y upwards."""
    address = name_of(item, name)
    try:
        text = content_of(item, name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{address}: not a stroke file: it is not text") from error
    strokes: list[list[tuple[float, float]]] = [[]]
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line == "BREAK":
            strokes.append([])
        elif line and line != "START":
            try:
                x, y, _ = (float(value) for value in line.split(","))
                finite = np.isfinite(x + y)
            except ValueError:
                finite = False
            if not finite:
                raise DataError(
                    f"{address}: line {number}: expected x,y,t, START or BREAK, "
                    f"got {line[:40]!r}"
                )
            strokes[-1].append((x, y))
    drawn = [np.array(stroke) for stroke in strokes if stroke]
    if not drawn:
        raise DataError(f"{address}: no points in it")
    return drawn


def _resample(
    strokes: Sequence[NDArray[np.float64]], max_points: int
) -> list[NDArray[np.float64]]:
    """Each stroke at even distances, from its start to its end."""
    ways = [
        np.insert(np.cumsum(np.linalg.norm(np.diff(s, axis=0), axis=1)), 0, 0.0)
        for s in strokes
    ]
    inked = sum(way[-1] for way in ways)
    # One point opens each stroke, the others share the length: the sum cannot exceed
    # max_points.
    spacing = inked / max(1, max_points - len(strokes))
    resampled = []
    for stroke, way in zip(strokes, ways, strict=True):
        n_steps = int(way[-1] / spacing + 1e-9) if spacing else 0
        at = np.linspace(0.0, way[-1], n_steps + 1)
        columns = [np.interp(at, way, stroke[:, axis]) for axis in (0, 1)]
        resampled.append(np.column_stack(columns))
    return resampled
