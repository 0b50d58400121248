"""Texts and pen strokes as padded sequences."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onelook.data.inputs.faces import FacePreprocess
from onelook.data.inputs.images import Preprocess, read_bytes, refuse_bad
from onelook.data.inputs.rows import find_rows
from onelook.errors import DataError
from onelook.recipe import SequenceSettings

PADDING, UNKNOWN, FIRST_TOKEN = 0, 1, 2

_WORD = re.compile(r"\w+(?:['’]\w+)*")


class Sequences(NamedTuple):
    """N sequences, padded with zeros to the longest.

    ``values`` is (N, T) int64 tokens (0 = padding, 1 = unknown) or (N, T, 3) float32
    strokes; ``lengths`` is (N,) int64, each at least 1.
    """

    values: Tensor
    lengths: Tensor


def to_device(inputs: Tensor | Sequences, device: str | torch.device) -> Tensor | Sequences:
    """The inputs of an encoder, on the device."""
    if isinstance(inputs, Sequences):
        return Sequences(inputs.values.to(device), inputs.lengths.to(device))
    return inputs.to(device)


@dataclass(frozen=True)
class TextPreprocess:
    """Texts to tokens of a fixed vocabulary.

    Words are runs of letters and digits in lower case, with inner apostrophes; other signs
    separate them. Characters are every character, in lower case. A text without any token
    becomes one unknown.

    Args:
        settings: Unit, longest sequence (the rest of a text is cut off).
        vocabulary: Token strings; the first one is token 2.

    Example:
        >>> settings = SequenceSettings(kind="text")
        >>> preprocess = TextPreprocess.fit(["A dog runs", "a cat"], settings)
        >>> preprocess.vocabulary
        ('a', 'cat', 'dog', 'runs')
        >>> preprocess.load_many(["The dog", "A cat sat."]).values
        tensor([[1, 4, 0],
                [2, 3, 1]])
    """

    settings: SequenceSettings
    vocabulary: tuple[str, ...]
    _token_of: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tokens = {text: i for i, text in enumerate(self.vocabulary, start=FIRST_TOKEN)}
        if len(tokens) != len(self.vocabulary):
            raise ValueError("vocabulary must not repeat a token")
        object.__setattr__(self, "_token_of", tokens)

    @classmethod
    def fit(cls, texts: Iterable[str], settings: SequenceSettings) -> "TextPreprocess":
        """The vocabulary of the training texts, most frequent first, no rare tokens."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_split(text, settings.unit))
        frequent = (item for item in counts.items() if item[1] >= settings.min_count)
        ordered = sorted(frequent, key=lambda item: (-item[1], item[0]))
        return cls(settings, tuple(text for text, _ in ordered))

    @property
    def n_tokens(self) -> int:
        """Rows of an embedding table: the vocabulary, padding and unknown."""
        return len(self.vocabulary) + FIRST_TOKEN

    def load_many(self, addresses: Sequence[str]) -> Sequences:
        """Tokens (N, T) of texts; the address of a text is the text itself."""
        return _pad([self._tokens(text) for text in addresses])

    def _tokens(self, text: str) -> NDArray[np.int64]:
        pieces = _split(text, self.settings.unit)[: self.settings.max_length]
        tokens = [self._token_of.get(piece, UNKNOWN) for piece in pieces]
        return np.array(tokens or [UNKNOWN], np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``kind`` = ``"text"``."""
        return {**self.settings.model_dump(mode="json"), "vocabulary": [*self.vocabulary]}


@dataclass(frozen=True)
class StrokePreprocess:
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

    def load_many(self, addresses: Sequence[str]) -> Sequences:
        """Points (N, T, 3) of stroke files.

        Raises:
            DataError: If a file cannot be read or has no points.
        """
        return _pad([self.load(address) for address in addresses])

    def load(self, address: str) -> NDArray[np.float32]:
        """Points (T, 3) of one file."""
        strokes = read_strokes(address)
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``kind`` = ``"strokes"``."""
        return self.settings.model_dump(mode="json")


def preprocess_from_dict(
    content: dict[str, Any],
) -> Preprocess | TextPreprocess | StrokePreprocess:
    """The inverse of ``to_dict`` of each of the four kinds.

    Raises:
        ValueError: If the kind is unknown or a setting is wrong.
    """
    kind = content.get("kind")
    if kind == "image":
        return Preprocess.from_dict(content)
    if kind == "face":
        return FacePreprocess.from_dict(content)
    if kind == "strokes":
        return StrokePreprocess(SequenceSettings(**content))
    if kind == "text":
        settings = {key: value for key, value in content.items() if key != "vocabulary"}
        vocabulary = tuple(content.get("vocabulary", ()))
        return TextPreprocess(SequenceSettings(**settings), vocabulary)
    raise ValueError(f"unknown preprocessing {kind!r}; known: image, face, strokes, text")


def read_strokes(address: str) -> list[NDArray[np.float64]]:
    """The strokes of an Omniglot file in the order drawn: (n, 2) of x and y, y upwards.

    Raises:
        DataError: If the file cannot be read, a line is not ``x,y,t``, or there is no
            point.
    """
    try:
        text = read_bytes(address).decode("utf-8")
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


class SequenceStore:
    """Sequences of many items in memory, one row for each distinct address.

    Args:
        sequences: N padded sequences.
        addresses: N addresses, one a row.
        bad: Address and reason of every item that could not be read; they have no row.
    """

    def __init__(
        self,
        sequences: Sequences,
        addresses: Sequence[str],
        bad: Sequence[tuple[str, str]] = (),
    ) -> None:
        # A vocabulary fits in 32 bits, and half the memory.
        is_text = sequences.values.dtype == torch.int64
        self._values = sequences.values.int() if is_text else sequences.values
        self._lengths = sequences.lengths
        self.addresses = tuple(addresses)
        self.bad = list(bad)
        self._row_of = {address: row for row, address in enumerate(self.addresses)}

    @classmethod
    def prepare(
        cls,
        addresses: Sequence[str],
        preprocess: TextPreprocess | StrokePreprocess,
        skip_bad: bool = False,
    ) -> "SequenceStore":
        """The store of all distinct addresses.

        Raises:
            DataError: If items cannot be read (all of them, or any without ``skip_bad``).
        """
        distinct = sorted(set(addresses))
        if isinstance(preprocess, TextPreprocess):
            return cls(preprocess.load_many(distinct), distinct)
        bad: list[tuple[str, str]] = []
        kept: list[str] = []
        arrays: list[NDArray[np.float32]] = []
        for address in distinct:
            try:
                arrays.append(preprocess.load(address))
                kept.append(address)
            except DataError as error:
                bad.append((address, str(error).removeprefix(f"{address}: ")))
        if not skip_bad or not kept:
            refuse_bad(bad, len(distinct), "stroke files")
        return cls(_pad(arrays), kept, bad)

    def __len__(self) -> int:
        return len(self.addresses)

    def rows(self, addresses: Sequence[str]) -> NDArray[np.int64]:
        """The row (N,) of each address.

        Raises:
            DataError: If one is not in the store, or could not be read.
        """
        return find_rows(addresses, self._row_of, self.bad)

    def gather(
        self,
        rows: NDArray[np.int64] | Tensor | Sequence[int],
        device: str | torch.device = "cpu",
    ) -> Sequences:
        """Sequences of the given rows on the device, padded to the longest of these."""
        index = torch.as_tensor(rows, dtype=torch.int64).cpu()
        lengths = self._lengths[index]
        longest = int(lengths.max()) if len(lengths) else 0
        values = self._values[index, :longest].to(device)
        is_text = values.dtype == torch.int32
        return Sequences(values.long() if is_text else values, lengths.to(device))


def _split(text: str, unit: str) -> list[str]:
    text = text.lower()
    return _WORD.findall(text) if unit == "word" else list(text)


def _pad(arrays: Sequence[NDArray[Any]]) -> Sequences:
    lengths = torch.tensor([len(array) for array in arrays], dtype=torch.int64)
    if not len(arrays):
        return Sequences(torch.zeros((0, 0), dtype=torch.int64), lengths)
    shape = (len(arrays), int(lengths.max()), *arrays[0].shape[1:])
    values = np.zeros(shape, arrays[0].dtype)
    for row, array in enumerate(arrays):
        values[row, : len(array)] = array
    return Sequences(torch.from_numpy(values), lengths)


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
