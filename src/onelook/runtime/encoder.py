"""Encoder: what answers; FunctionEncoder: an embedding function of the user's own."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.errors import CheckpointError

Inputs = Mapping[str, NDArray[Any]]  # what an ``Input`` makes, by name
EmbeddingFunction = Callable[[list[Image.Image]], NDArray[Any]]


class Encoder(Protocol):
    """What maps inputs to embeddings."""

    @property
    def embedding_size(self) -> int:
        """D, or 0 if it is known only once something is embedded."""

    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of what an ``Input`` made of N items."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """All weights by name; none where they cannot be read."""

    def files(self, examples: Mapping[str, Inputs]) -> tuple[bytes, dict[str, bytes]]:
        """What a model folder keeps: the safetensors file, and a graph for each side."""


class FunctionEncoder:
    """An embedding function, from a list of N Pillow images to (N, D), as an encoder."""

    embedding_size = 0  # only the function knows

    def __init__(self, function: EmbeddingFunction) -> None:
        self.function = function

    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of ``pictures`` (N,), Pillow images."""
        images = inputs["pictures"].tolist()
        embeddings = np.asarray(self.function(images), dtype=np.float32)
        if embeddings.ndim != 2 or len(embeddings) != len(images):
            raise ValueError(
                f"the embedding function must give (N, D) for N images, got shape "
                f"{embeddings.shape} for {len(images)}"
            )
        if not np.isfinite(embeddings).all():
            raise ValueError("the embedding function gave numbers that are not finite")
        return embeddings

    def weights(self) -> dict[str, NDArray[Any]]:
        """None: only the function knows."""
        return {}

    def files(self, examples: Mapping[str, Inputs]) -> tuple[bytes, dict[str, bytes]]:
        """Nothing that could be kept."""
        raise CheckpointError(
            "an embedding function cannot be saved: keep its code, and make the Verifier "
            "again by onelook.from_function"
        )
