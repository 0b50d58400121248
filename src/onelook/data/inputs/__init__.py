"""Inputs: what one side of a model takes, one class a kind, saved with the model."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs.decoding import Item
from onelook.data.inputs.faces import FaceInput
from onelook.data.inputs.images import ImageInput
from onelook.data.inputs.raw import RawInput
from onelook.data.inputs.stores import Store
from onelook.data.inputs.strokes import StrokeInput
from onelook.data.inputs.texts import TextInput
from onelook.recipe import ImageSettings, SequenceSettings


class Input(Protocol):
    """How an item becomes what an encoder takes."""

    @property
    def kind(self) -> str:
        """Its name in ``INPUTS`` and in ``model.json``."""

    @property
    def suffixes(self) -> frozenset[str]:
        """Endings of its files; empty where an item is no file but a text."""

    @property
    def subject(self) -> str:
        """What its pictures show: "face", "drawing" or "thing"; empty for no pictures."""

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Channels, height, width of its images; None where they are not fixed."""

    @property
    def normalisation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Mean and standard deviation of pixels in [0, 1]; None where there are none."""

    def load(self, item: Item, name: str = ...) -> Any:
        """One item; ``name`` is what messages call it if it is held in memory."""

    def load_many(self, items: Sequence[Item]) -> Any:
        """Many items, in threads or processes where that pays."""

    def store(
        self, addresses: Sequence[str], skip_bad: bool = ..., progress: bool = ...
    ) -> Store:
        """All distinct items, each loaded once."""

    def to_inputs(self, loaded: Any) -> dict[str, NDArray[Any]]:
        """What an encoder takes, of a list of loaded items, ``load_many`` or ``gather``."""

    def example(self) -> Any:
        """Two loaded items drawn at random, to trace an encoder with."""

    def content(self, item: Item, name: str = ...) -> bytes:
        """The bytes of an item's file: ``load`` takes them, and a digest tells it again."""

    def picture(self, loaded: Any) -> NDArray[np.uint8] | None:
        """A loaded item as people see it, (H, W) or (H, W, 3); None for no pictures."""

    def encoder_arguments(self) -> dict[str, Any]:
        """What the data adds to the arguments of a recipe's encoder."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""


INPUTS: dict[str, Any] = {
    one.kind: one for one in (ImageInput, FaceInput, TextInput, StrokeInput, RawInput)
}


def input_from_dict(content: dict[str, Any]) -> Input:
    """The inverse of every kind's ``to_dict``."""
    kind = content.get("kind")
    if kind not in INPUTS:
        raise ValueError(f"unknown input {kind!r}; known: {', '.join(INPUTS)}")
    made: Input = INPUTS[kind].from_dict(content)
    return made


def make_input(
    images: ImageSettings | None,
    sequence: SequenceSettings | None,
    texts: Sequence[str] | None,
) -> Input | None:
    """The input of one side of a recipe; None if the recipe lacks the block for it.

    ``texts`` are the side's training texts, whose words are learned; None for files.
    """
    if sequence is not None and (texts is not None or INPUTS[sequence.kind].suffixes):
        fitted: Input = INPUTS[sequence.kind].fit(texts or (), sequence)
        return fitted
    return None if images is None or texts is not None else ImageInput(images)


__all__ = [
    "INPUTS",
    "FaceInput",
    "ImageInput",
    "Input",
    "Item",
    "RawInput",
    "Store",
    "StrokeInput",
    "TextInput",
    "input_from_dict",
    "make_input",
]
