"""RawInput: images as they are, for an embedding function of the user's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.decoding import IMAGE_SUFFIXES, Item, content_of, decode
from onelook.data.inputs.stores import PixelStore


@dataclass(frozen=True)
class RawInput:
    """Images upright, grey or RGB, each in its own size."""

    kind: ClassVar[str] = "originals"
    suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES
    subject: ClassVar[str] = "thing"
    input_shape: ClassVar[None] = None
    normalisation: ClassVar[None] = None

    def load(self, item: Item, name: str = "image") -> NDArray[np.uint8]:
        """Pixels (1, H, W) or (3, H, W)."""
        pixels = np.asarray(decode(item, name))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def load_many(self, items: Sequence[Item]) -> list[NDArray[np.uint8]]:
        """Pixels of N images, each in its own size."""
        return [self.load(item, f"image {i}") for i, item in enumerate(items, 1)]

    def store(
        self, addresses: Sequence[str], skip_bad: bool = False, progress: bool = True
    ) -> PixelStore:
        """Raise a TypeError: images of many sizes do not fit into one array."""
        raise TypeError("images for an embedding function cannot be kept in a store")

    def to_inputs(self, loaded: Any) -> dict[str, NDArray[Any]]:
        """``pictures`` (N,): Pillow images, RGB or L."""
        pictures = np.empty(len(loaded), object)
        pictures[:] = [Image.fromarray(self.picture(pixels)) for pixels in loaded]
        return {"pictures": pictures}

    def example(self) -> list[NDArray[np.uint8]]:
        """Two white images."""
        return [np.full((3, 64, 64), 255, np.uint8)] * 2

    def content(self, item: Item, name: str = "image") -> bytes:
        return content_of(item, name)

    def picture(self, loaded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3) of pixels (C, H, W)."""
        grey = len(loaded) == 1
        return loaded[0] if grey else np.ascontiguousarray(loaded.transpose(1, 2, 0))

    def encoder_arguments(self) -> dict[str, Any]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "RawInput":
        return cls()
