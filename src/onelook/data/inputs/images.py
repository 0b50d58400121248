"""ImageInput: an image as the pixels that a network sees."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.inputs.decoding import (
    IMAGE_SUFFIXES,
    Item,
    content_of,
    name_of,
    naming,
    open_image,
    quiet_pillow,
)
from onelook.data.inputs.framing import frame_ink, resize_and_pad
from onelook.data.inputs.ink import WORKING_SIDE, find_ink
from onelook.data.inputs.processes import in_processes, in_threads
from onelook.data.inputs.stores import CHUNK, Chunk, PixelStore
from onelook.data.reading import refuse_bad
from onelook.errors import DataError
from onelook.machine import threads
from onelook.recipe import ImageSettings

# Threads pay when most of an image's time is decoding, which leaves the interpreter free.
# Below this they wait for each other: 1-bit 105 x 105 PNG (0.15 ms) took 1.7 times as long
# with two threads, 250 x 250 JPEG (0.8 ms) 0.6 times.
SECONDS_WORTH_A_THREAD = 0.0004
# Framing ink takes 0.8 ms of Python for an image and half a second to start a process.
PARTS_WORTH_A_PROCESS = 60

Named = tuple[str, Item]


@dataclass(frozen=True)
class ImageInput:
    """How an image becomes a uint8 array (C, H, W). Saved with the model.

    In this order: decode (see ``decode``), crop to the centred square, grey or RGB, resize
    with the stated filter (Pillow's, which averages when it shrinks), pad, invert. With
    ``ink`` the drawing is found, framed and drawn with one pen in place of the resize.

    A JPEG with at least four times the sides that are asked for is decoded at 1/2, 1/4 or
    1/8 of its size, never below twice those. Photographs measured 2 to 3.4 times as fast,
    at most 2 grey levels away from the full decoding and 0.2 on average.

    Args:
        settings: Size, channels, crop, filter, normalisation.

    Raises:
        ValueError: If ``mean`` or ``std`` has neither 1 value nor one for each channel, or
            a ``std`` is not positive.

    Example:
        >>> images = ImageInput(ImageSettings(height=4, width=6))
        >>> images.load(Image.new("RGB", (30, 20), "white")).shape
        (1, 4, 6)
    """

    settings: ImageSettings

    kind: ClassVar[str] = "image"
    suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES

    def __post_init__(self) -> None:
        channels = self.settings.channels
        for name in ("mean", "std"):
            values = getattr(self.settings, name)
            if len(values) not in (1, channels):
                raise ValueError(
                    f"{name} must have 1 value or {channels}, got {values}: one a channel"
                )
        if min(self.settings.std) <= 0:
            raise ValueError(f"std must be positive, got {self.settings.std}")

    @property
    def subject(self) -> str:
        """ "drawing" where ink is framed, else "thing"."""
        return "thing" if self.settings.ink is None else "drawing"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.settings.channels, self.settings.height, self.settings.width

    @property
    def normalisation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation (C or 1, 1, 1) of pixels in [0, 1]."""
        mean, std = (
            np.array(values, np.float32).reshape(-1, 1, 1)
            for values in (self.settings.mean, self.settings.std)
        )
        return mean, std

    def load(self, item: Item, name: str = "image") -> NDArray[np.uint8]:
        """Pixels (C, H, W) of an image.

        Args:
            item: An address, the bytes of a file, a Pillow image or a uint8 array.
            name: What messages call an item that is held in memory.

        Raises:
            DataError: If it cannot be read.
        """
        with quiet_pillow():
            return self._load(item, name_of(item, name))

    def load_many(
        self, items: Sequence[Item], workers: int | None = None
    ) -> NDArray[np.uint8]:
        """Pixels (N, C, H, W) of N images; those in memory are called "image 1" and so on.

        Raises:
            DataError: If some cannot be read; it lists the first ten.
        """
        chunks = list(self.load_chunks(items, workers))
        refuse_bad([entry for chunk in chunks for entry in chunk.bad], len(items))
        empty = np.empty((0, *self.input_shape), np.uint8)
        return np.concatenate([empty, *(chunk.pixels for chunk in chunks)])

    def load_chunks(
        self, items: Sequence[Item], workers: int | None = None
    ) -> Iterator[Chunk]:
        """All items in their order, some at a time, with few chunks held in memory.

        Args:
            items: As for ``load``.
            workers: Threads, or processes where ink is framed; ``None`` takes as many as
                computations have if an image takes long enough to pay.
        """
        named = [(name_of(item, f"image {i}"), item) for i, item in enumerate(items, 1)]
        parts = (named[i : i + CHUNK] for i in range(0, len(items), CHUNK))
        n_parts = -(-len(items) // CHUNK)
        with quiet_pillow():
            if workers is None:
                fastest = float("inf")
                # Two, since the first one pays for Pillow's imports.
                for part in islice(parts, 2):
                    wall, busy = time.perf_counter(), time.thread_time()
                    chunk = self._load_part(part)
                    wall, busy = time.perf_counter() - wall, time.thread_time() - busy
                    # Waiting counts little: it may be a slow disk or a busy machine.
                    fastest = min(fastest, max(busy, wall / 10) / len(part))
                    yield chunk
                workers = threads() if fastest > SECONDS_WORTH_A_THREAD else 1
            if workers == 1:
                yield from map(self._load_part, parts)
            elif self.settings.ink is not None and n_parts >= PARTS_WORTH_A_PROCESS:
                yield from in_processes(self._load_quietly, parts, workers)
            else:
                yield from in_threads(self._load_part, parts, workers)

    def _load_part(self, part: Sequence[Named]) -> Chunk:
        pixels = np.empty((len(part), *self.input_shape), np.uint8)
        bad: list[tuple[str, str]] = []
        n_good = 0
        for name, item in part:
            try:
                pixels[n_good] = self._load(item, name)
                n_good += 1
            except DataError as error:
                bad.append((name, str(error).removeprefix(f"{name}: ")))
        return Chunk(pixels[:n_good], bad)

    def _load_quietly(self, part: Sequence[Named]) -> Chunk:
        with quiet_pillow():
            return self._load_part(part)

    def _load(self, item: Item, name: str) -> NDArray[np.uint8]:
        settings = self.settings
        drawn = settings.ink is not None
        needed = WORKING_SIDE if drawn else 2 * max(settings.height, settings.width)
        enough = needed / (settings.crop or 1)
        image = open_image(item, name, enough=enough, glass=drawn)
        with naming(name):
            return self._pixels(image)

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        settings = self.settings
        if settings.crop:
            side = max(1, round(settings.crop * min(image.size)))
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        size = settings.width, settings.height
        if settings.ink is not None:
            drawing = frame_ink(find_ink(image.convert("L")), size, settings.ink)
            shown = drawing if settings.invert else 255 - drawing
            return np.repeat(shown[None], settings.channels, axis=0)
        mode = "L" if settings.channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        if settings.fit == "pad":
            image = resize_and_pad(image, size, settings.resample)
        else:
            image = image.resize(size, Image.Resampling[settings.resample.upper()])
        pixels: NDArray[np.uint8] = np.array(image)  # (H, W) or (H, W, 3)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return 255 - pixels if settings.invert else np.ascontiguousarray(pixels)

    def store(
        self, addresses: Sequence[str], skip_bad: bool = False, progress: bool = True
    ) -> PixelStore:
        return PixelStore.prepare(addresses, self, skip_bad=skip_bad, progress=progress)

    def to_inputs(self, loaded: Any) -> dict[str, NDArray[Any]]:
        """``images`` (N, C, H, W) float32, normalised, of loaded pixels (N, C, H, W)."""
        images = np.asarray(loaded).astype(np.float32)
        images /= 255
        mean, std = self.normalisation
        images -= mean
        images /= std
        return {"images": images}

    def example(self) -> NDArray[np.uint8]:
        """Pixels (2, C, H, W) drawn at random."""
        shape = (2, *self.input_shape)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def content(self, item: Item, name: str = "image") -> bytes:
        return content_of(item, name)

    def picture(self, loaded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3) of pixels (C, H, W), ink dark as a person sees it."""
        upright = 255 - loaded if self.settings.invert else loaded
        return upright[0] if len(upright) == 1 else upright.transpose(1, 2, 0)

    def encoder_arguments(self) -> dict[str, Any]:
        """``input_shape``: channels, height, width."""
        return {"input_shape": list(self.input_shape)}

    def to_dict(self) -> dict[str, Any]:
        # Without what is off, so that a later setting leaves older models' keys alone.
        settings = self.settings.model_dump(mode="json", exclude_none=True)
        return {"kind": self.kind, **settings}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "ImageInput":
        values = {key: value for key, value in content.items() if key != "kind"}
        return cls(ImageSettings(**values))
