"""Signs that a training has failed, named with what to change."""

import math
from collections import deque
from pathlib import Path

import torch
from torch import Tensor

from onelook.errors import TrainingError

CHECK_EVERY = 25  # steps
CHECKS_IN_A_ROW = 8
SMALLEST_SPREAD = 1e-3


class HealthCheck:
    """Stops a training whose loss is not a number or whose embeddings have become all
    alike.

    Args:
        margin: Of the loss, where it has one: the value at which a collapsed triplet loss
        sticks.
        learning_rate: Named in the advice.
        checkpoint: File of the last good state, named in the advice.
    """

    def __init__(
        self, margin: float | None, learning_rate: float, checkpoint: str | Path
    ) -> None:
        self.margin = margin
        self.learning_rate = learning_rate
        self.checkpoint = checkpoint
        self.losses: deque[float] = deque(maxlen=CHECK_EVERY * CHECKS_IN_A_ROW)
        self.collapsed_checks = 0

    def check(self, step: int, loss: float, embeddings: Tensor) -> None:
        """Raise when this step shows a failure.

        Args:
            step: Counted from 0, for the message.
            loss: Of this step.
            embeddings: (N, D) of this step's batch.

        Raises:
            TrainingError: If the loss is not finite, or a collapse has lasted.
        """
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step}; the last good checkpoint is "
                f"{self.checkpoint}: resume with a lower learning rate (it is "
                f"{self.learning_rate:g}) or with clip_norm"
            )
        self.losses.append(loss)
        if step % CHECK_EVERY:
            return
        collapsed = relative_spread(embeddings) < SMALLEST_SPREAD
        self.collapsed_checks = self.collapsed_checks + 1 if collapsed else 0
        if self.collapsed_checks >= CHECKS_IN_A_ROW:
            raise TrainingError(
                f"collapse at step {step}: all embeddings have been alike (relative "
                f"spread below "
                f"{SMALLEST_SPREAD:g}) for {CHECK_EVERY * CHECKS_IN_A_ROW} "
                f"steps{self._stuck()}; "
                f"lower the learning rate (it is {self.learning_rate:g}), mine "
                f"semi-hard or all "
                "triplets instead of hard ones, or take a loss that normalises the "
                "embeddings"
            )

    def _stuck(self) -> str:
        mean = sum(self.losses) / len(self.losses)
        for name, value in _stuck_values(self.margin):
            if abs(mean - value) < 0.02 * value:
                return f" and the loss is stuck at {mean:.4g}, its {name}"
        return f" and the loss stays at {mean:.4g}"


def _stuck_values(margin: float | None) -> list[tuple[str, float]]:
    if margin is None:
        return []
    return [
        ("margin", margin),
        ("squared margin", margin**2),
        ("value for half the pairs at the squared margin", margin**2 / 2),
    ]


def relative_spread(embeddings: Tensor) -> float:
    """Root mean squared distance of embeddings (N, D) to their mean, over their mean
    norm."""
    embeddings = embeddings.detach().float()
    centred = embeddings - embeddings.mean(dim=0)
    norm = embeddings.norm(dim=1).mean().clamp_min(1e-12)
    return float(centred.square().sum(dim=1).mean().sqrt() / norm)


def all_finite(model: torch.nn.Module) -> bool:
    """Whether no weight is infinite or not a number."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())
