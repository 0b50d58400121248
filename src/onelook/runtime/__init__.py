"""Runtime: what turns inputs into embeddings, and embeddings into scores."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

WEIGHTS_FILE = "model.safetensors"
GRAPH_FILES = {"left": "model.onnx", "right": "model-right.onnx"}

Inputs = dict[str, NDArray[Any]]


class Encoder(Protocol):
    """What turns inputs into embeddings: ``runtime/onnx.py`` or ``runtime/torch.py``.

    ``embedding_size`` is D; ``settings`` is the "model" part of ``model.json``, or None
    where the encoder is code that no name stands for.
    """

    embedding_size: int
    settings: dict[str, Any] | None

    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of N inputs of one side."""
        ...

    def files(self, examples: dict[str, Inputs]) -> dict[str, bytes]:
        """What a model folder keeps of it: the weights, and a graph for each side.

        Args:
            examples: Inputs of each side, to trace a graph with and to check it.
        """
        ...
