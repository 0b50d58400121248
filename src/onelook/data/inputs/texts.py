"""TextInput: a text as tokens of a fixed vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs.decoding import Item
from onelook.data.inputs.sequences import Sequences, padded
from onelook.data.inputs.stores import SequenceStore
from onelook.errors import DataError
from onelook.recipe import SequenceSettings

PADDING, UNKNOWN, FIRST_TOKEN = 0, 1, 2

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class TextInput:
    """Texts to tokens of a fixed vocabulary; the address of a text is the text itself.

    Words are runs of letters and digits in lower case, with inner apostrophes; other signs
    separate them. Characters are every character, in lower case. A text without any token
    becomes one unknown.

    Args:
        settings: Unit, longest sequence (the rest of a text is cut off).
        vocabulary: Token strings; the first one is token 2.

    Example:
        >>> settings = SequenceSettings(kind="text")
        >>> texts = TextInput.fit(["A dog runs", "a cat"], settings)
        >>> texts.vocabulary
        ('a', 'cat', 'dog', 'runs')
        >>> texts.load_many(["The dog", "A cat sat."]).values
        array([[1, 4, 0],
               [2, 3, 1]])
    """

    settings: SequenceSettings
    vocabulary: tuple[str, ...]
    _token_of: dict[str, int] = field(init=False, repr=False, compare=False)

    kind: ClassVar[str] = "text"
    suffixes: ClassVar[frozenset[str]] = frozenset()
    subject: ClassVar[str] = ""
    input_shape: ClassVar[None] = None
    normalisation: ClassVar[None] = None

    def __post_init__(self) -> None:
        tokens = {text: i for i, text in enumerate(self.vocabulary, start=FIRST_TOKEN)}
        if len(tokens) != len(self.vocabulary):
            raise ValueError("vocabulary must not repeat a token")
        object.__setattr__(self, "_token_of", tokens)

    @classmethod
    def fit(cls, texts: Iterable[str], settings: SequenceSettings) -> "TextInput":
        """The vocabulary of the training texts, most frequent first, no rare tokens."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_split(text, settings.unit))
        frequent = (item for item in counts.items() if item[1] >= settings.min_count)
        ordered = sorted(frequent, key=lambda item: (-item[1], item[0]))
        return cls(settings, tuple(text for text, _ in ordered))

    def load(self, item: Item, name: str = "text") -> NDArray[np.int64]:
        """Tokens (T,) of a text, or of its bytes in UTF-8."""
        text = self.content(item, name).decode("utf-8", "replace")
        pieces = _split(text, self.settings.unit)[: self.settings.max_length]
        tokens = [self._token_of.get(piece, UNKNOWN) for piece in pieces]
        return np.array(tokens or [UNKNOWN], np.int64)

    def load_many(self, items: Sequence[Item]) -> Sequences:
        """Tokens (N, T) of N texts."""
        return padded([self.load(item, f"text {i}") for i, item in enumerate(items, 1)])

    def store(
        self, addresses: Sequence[str], skip_bad: bool = False, progress: bool = True
    ) -> SequenceStore:
        """The store of all distinct texts; none of them can be bad."""
        distinct = sorted(set(addresses))
        return SequenceStore(self.load_many(distinct), distinct)

    def to_inputs(self, loaded: Any) -> dict[str, NDArray[Any]]:
        """``values`` (N, T) int64 and ``lengths`` (N,) of loaded texts."""
        return padded(loaded)._asdict()

    def example(self) -> list[NDArray[np.int64]]:
        """The tokens of a longer and of a shorter text."""
        last = len(self.vocabulary) + FIRST_TOKEN - 1
        return [np.full(n, token, np.int64) for n, token in ((7, last), (3, UNKNOWN))]

    def content(self, item: Item, name: str = "text") -> bytes:
        """The text in UTF-8."""
        if isinstance(item, bytes):
            return item
        if not isinstance(item, str):
            raise DataError(f"{name}: expected a text (str), got {type(item).__name__}")
        return item.encode("utf-8", "replace")

    def picture(self, loaded: Any) -> None:
        """None: a text is no picture."""

    def encoder_arguments(self) -> dict[str, Any]:
        """``vocabulary_size``: rows of an embedding table, with padding and unknown."""
        return {"vocabulary_size": len(self.vocabulary) + FIRST_TOKEN}

    def to_dict(self) -> dict[str, Any]:
        return {**self.settings.model_dump(mode="json"), "vocabulary": [*self.vocabulary]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "TextInput":
        settings = {key: value for key, value in content.items() if key != "vocabulary"}
        return cls(SequenceSettings(**settings), tuple(content.get("vocabulary", ())))


def _split(text: str, unit: str) -> list[str]:
    text = text.lower()
    return _WORD.findall(text) if unit == "word" else list(text)
