"""TorchEncoder: answers through PyTorch, on any of its devices."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from onelook.errors import CheckpointError
from onelook.models.export import export_graph
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.runtime import GRAPH_FILES, WEIGHTS_FILE, Inputs
from onelook.runtime.onnx import OnnxEncoder

# An exported graph may differ by this share of an embedding's length.
TOLERANCE = 1e-4


class TorchEncoder:
    """The encoders of a twin network.

    Args:
        model: Siamese, or PseudoSiamese with another encoder for the right side.
        settings: The "model" part of ``model.json``; None where the network was not made
            from names.
        device: Where it computes, such as "cuda"; None leaves the model where it is.
    """

    def __init__(
        self,
        model: Siamese | PseudoSiamese,
        settings: dict[str, Any] | None = None,
        device: str | None = None,
    ) -> None:
        self.model = model.eval() if device is None else model.eval().to(device)
        self.settings = settings

    @property
    def embedding_size(self) -> int:
        return int(getattr(self.model.encoder_of("left"), "embedding_size", 0))

    @property
    def device(self) -> str:
        return str(next((p.device for p in self.model.parameters()), "cpu"))

    @torch.inference_mode()
    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of N inputs of one side."""
        tensors = [torch.from_numpy(values).to(self.device) for values in inputs.values()]
        taken: Any = tensors[0] if "images" in inputs else tuple(tensors)
        embeddings: Tensor = self.model.encode(taken, side)
        return embeddings.float().cpu().numpy()

    def files(self, examples: dict[str, Inputs]) -> dict[str, bytes]:
        """The weights, and a graph for each side, checked against the network.

        Raises:
            CheckpointError: If a graph's embeddings differ from the network's.
        """
        state = self.model.state_dict()
        weights = save({name: tensor.cpu().contiguous() for name, tensor in state.items()})
        sides = ("left",) if isinstance(self.model, Siamese) else ("left", "right")
        graphs = {}
        for side in sides:
            example = {
                key: torch.from_numpy(values).to(self.device)
                for key, values in examples[side].items()
            }
            graphs[side] = export_graph(self.model, side, example, weights, WEIGHTS_FILE)
        exported = OnnxEncoder(weights, graphs, self.embedding_size)
        for side in sides:
            self._check(exported, examples[side], side)
        return exported.files({})

    def _check(self, exported: OnnxEncoder, example: Inputs, side: str) -> None:
        difference = largest_difference(self(example, side), exported(example, side))
        one = {key: values[:1] for key, values in example.items()}
        difference = max(
            difference, largest_difference(self(one, side), exported(one, side))
        )
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{GRAPH_FILES[side]}: its embeddings differ from the network's by up to "
                f"{difference:.2g} of their length, more than {TOLERANCE:g}"
            )


def largest_difference(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The largest distance of two embeddings (N, D), as a share of the first's length."""
    lengths = np.linalg.norm(left, axis=1)
    return float((np.linalg.norm(left - right, axis=1) / np.maximum(lengths, 1e-12)).max())
