"""Losses of the package pytorch-metric-learning, through one adapter."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onelook.extras import import_extra

# Arguments that are objects of the package, and its modules that hold them.
PARTS = {
    "distance": "distances", "reducer": "reducers", "embedding_regularizer": "regularizers",
}  # fmt: skip


class PytorchMetricLearningLoss(nn.Module):
    """Any loss of the package pytorch-metric-learning that takes embeddings and labels.

    Args:
        loss: Name of a class in its ``losses``, such as ``"MultiSimilarityLoss"``.
        arguments: Arguments of the loss. A ``distance``, ``reducer`` or
            ``embedding_regularizer`` is given as ``{"name": CLASS, "arguments": {...}}``.
        miner: Name of a class in its ``miners``, or None.
        miner_arguments: Arguments of the miner.
    """

    takes = "labels"

    def __init__(
        self,
        loss: str,
        arguments: Mapping[str, Any] | None = None,
        miner: str | None = None,
        miner_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.loss = _from_pml("losses", loss, arguments or {})
        self.miner = _from_pml("miners", miner, miner_arguments or {}) if miner else None

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D) with labels (N,) int64."""
        # Half precision is compared in float32, as in losses.py.
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        with torch.autocast(embeddings.device.type, enabled=False):
            chosen = None if self.miner is None else self.miner(embeddings, labels)
            loss: Tensor = self.loss(embeddings, labels, chosen)
        return loss


def _from_pml(module_name: str, class_name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """An object of pytorch-metric-learning, with the objects that its arguments name."""
    purpose = "the loss 'pytorch-metric-learning'"
    module = import_extra(f"pytorch_metric_learning.{module_name}", "losses", purpose)
    known = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    if class_name not in known:
        raise ValueError(
            f"pytorch-metric-learning has no {class_name!r} in {module_name}; "
            f"known: {', '.join(sorted(known))}"
        )
    built = {
        key: _from_pml(PARTS[key], value["name"], value.get("arguments", {}))
        if key in PARTS and isinstance(value, Mapping)
        else value
        for key, value in arguments.items()
    }
    try:
        instance: nn.Module = known[class_name](**built)
    except TypeError as error:
        raise ValueError(f"{class_name} of pytorch-metric-learning: {error}") from error
    return instance
