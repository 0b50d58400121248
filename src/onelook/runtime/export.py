"""Export a PyTorch network for ONNX Runtime, and check that both give the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onelook.errors import CheckpointError
from onelook.models.export import export_graphs
from onelook.runtime.encoder import Inputs
from onelook.runtime.onnx import GRAPH_FILES, WEIGHTS_FILE, OnnxEncoder

if TYPE_CHECKING:
    from onelook.runtime.torch import TorchEncoder

# An embedding may differ by this share of its length.
TOLERANCE = 1e-4


def exported(
    encoder: "TorchEncoder", weights: bytes, examples: Mapping[str, Inputs]
) -> OnnxEncoder:
    """The encoder for ONNX Runtime, checked against PyTorch."""
    graphs = export_graphs(encoder.model, examples, weights, WEIGHTS_FILE)
    size = encoder(examples["left"], "left").shape[1]
    found = OnnxEncoder(weights, graphs, size)
    for side, inputs in examples.items():
        one = {name: values[:1] for name, values in inputs.items()}
        difference = max(
            largest_difference(encoder(some, side), found(some, side))
            for some in (inputs, one)
        )
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{GRAPH_FILES[side]}: its embeddings differ from the network's by up to "
                f"{difference:.2g} of their length, more than {TOLERANCE:g}"
            )
    return found


def largest_difference(left: NDArray[Any], right: NDArray[Any]) -> float:
    """The largest distance of two embeddings (N, D), as a share of the first's length."""
    lengths = np.linalg.norm(left, axis=1)
    return float((np.linalg.norm(left - right, axis=1) / np.maximum(lengths, 1e-12)).max())
