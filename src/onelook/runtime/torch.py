"""TorchEncoder: a PyTorch network as an encoder that maps NumPy inputs to embeddings."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from onelook.models.network import build_model
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import Similarity
from onelook.runtime.encoder import Inputs
from onelook.runtime.export import exported
from onelook.runtime.scores import Scores, build_scores

log = logging.getLogger(__name__)


class TorchEncoder:
    """The encoders of a twin network, on the device that holds their weights."""

    def __init__(self, model: Siamese | PseudoSiamese, device: str | None = None) -> None:
        self.model = model.eval()
        if device is not None:
            self.model.to(named_device(device))
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

    def weights(self) -> dict[str, NDArray[Any]]:
        """All weights by name, as NumPy arrays."""
        state = self.model.state_dict()
        return {name: tensor.cpu().contiguous().numpy() for name, tensor in state.items()}

    def files(self, examples: Mapping[str, Inputs]) -> tuple[bytes, dict[str, bytes]]:
        """The weights, and a checked graph for each side; none without an ONNX form."""
        weights = save({key: torch.from_numpy(a) for key, a in self.weights().items()})
        try:
            return weights, exported(self, weights, examples).graphs
        except Exception as error:  # a user's network may fail in any way; keep its weights
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            log.warning("no ONNX form, so PyTorch will have to answer: %s", reason)
            return weights, {}


def named_device(name: str) -> torch.device:
    """The device of that name, such as "cuda"."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no device {name!r} for PyTorch here: {reason}") from error
    return torch.device(name)


def load_encoder(
    network: dict[str, Any], weights: dict[str, NDArray[Any]], device: str | None = None
) -> TorchEncoder:
    """The encoder of a model folder, from the "model" part of ``model.json``."""
    model = build_model(network)
    try:
        model.load_state_dict({key: torch.from_numpy(a) for key, a in weights.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the encoder: {error}") from error
    return TorchEncoder(model, device)


def tensors_of(
    inputs: Inputs, device: str | torch.device = "cpu"
) -> Tensor | tuple[Tensor, ...]:
    """What a network takes: one tensor, or for sequences their values and lengths."""
    tensors = tuple(torch.from_numpy(array).to(device) for array in inputs.values())
    return tensors[0] if len(tensors) == 1 else tensors


def torch_scores(similarity: Similarity) -> Scores:
    """The scores of a similarity, which follow its weights while it is trained."""

    def now() -> Scores:
        state = similarity.state_dict()
        weights = {name: tensor.cpu().numpy() for name, tensor in state.items()}
        return build_scores(similarity.name, weights)

    return replace(
        now(),
        pairs=lambda left, right: now().pairs(left, right),
        matrix=lambda left, right: now().matrix(left, right),
    )


@cache
def _stay_usable_after_forks() -> None:
    """Let a forked child compute in one thread.

    OpenMP's threads are not copied into it, and waiting for them would never end.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
