"""TorchEncoder: a PyTorch network as an encoder that maps NumPy inputs to embeddings."""

import os
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import Similarity
from onelook.runtime.encoder import Inputs
from onelook.runtime.scores import Scores


class TorchEncoder:
    """The encoders of a twin network, on the device that holds their weights.

    Args:
        model: Siamese, or PseudoSiamese with another encoder for the right side.
    """

    def __init__(self, model: Siamese | PseudoSiamese) -> None:
        self.model = model.eval()
        _stay_usable_after_forks()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def embedding_size(self) -> int:
        """D, or 0 if the network does not state it."""
        return int(getattr(self.model.encoder_of("right"), "embedding_size", 0) or 0)

    @torch.inference_mode()
    def __call__(self, inputs: Inputs, side: str = "left") -> NDArray[np.float32]:
        """Embeddings (N, D) of what an ``Input`` made of N items."""
        embeddings = self.model.encode(tensors_of(inputs, self.device), side)
        return embeddings.float().cpu().numpy()


def tensors_of(
    inputs: Inputs, device: str | torch.device = "cpu"
) -> Tensor | tuple[Tensor, ...]:
    """What a network takes: one tensor, or for sequences their values and lengths."""
    tensors = tuple(torch.from_numpy(array).to(device) for array in inputs.values())
    return tensors[0] if len(tensors) == 1 else tensors


def torch_scores(similarity: Similarity) -> Scores:
    """Scores by a PyTorch similarity, which follow its weights while it is trained."""

    def numpy_of(formula: Any) -> Any:
        @torch.inference_mode()
        def call(*arrays: NDArray[Any]) -> NDArray[Any]:
            device = next((p.device for p in similarity.parameters()), "cpu")
            tensors = [torch.as_tensor(np.ascontiguousarray(a)).to(device) for a in arrays]
            values: Tensor = formula(*tensors)
            return values.cpu().numpy()

        return call

    return Scores(
        similarity.name,
        numpy_of(similarity),
        numpy_of(similarity.matrix),
        numpy_of(similarity.dissimilarity),
        similarity.near,
        similarity.follows_near,
    )


@cache
def _stay_usable_after_forks() -> None:
    """Let a forked child compute in one thread.

    OpenMP's threads are not copied into it, and waiting for them would never end.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
