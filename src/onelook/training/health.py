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
    """Stops a training whose loss is not finite or whose embeddings have collapsed.

    A collapsed triplet loss stays at its ``margin``; ``learning_rate`` and ``checkpoint``
    are for the advice.
    """

    def __init__(
        self, margin: float | None, learning_rate: float, checkpoint: str | Path
    ) -> None:
        self.margin, self.learning_rate = margin, learning_rate
        self.checkpoint = checkpoint
        self.losses: deque[float] = deque(maxlen=CHECK_EVERY * CHECKS_IN_A_ROW)
        self.collapsed_checks = 0

    def check(self, step: int, loss: float, embeddings: Tensor) -> None:
        """Raise if a step (from 0) with embeddings (N, D) shows a failure."""
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step}; resume from {self.checkpoint} with a "
                f"learning rate below {self.learning_rate:g}, or with optimizer.clip_norm"
            )
        self.losses.append(loss)
        if step % CHECK_EVERY:
            return
        collapsed = relative_spread(embeddings) < SMALLEST_SPREAD
        self.collapsed_checks = self.collapsed_checks + 1 if collapsed else 0
        if self.collapsed_checks >= CHECKS_IN_A_ROW:
            raise TrainingError(
                f"the embeddings collapsed by step {step}: they have been alike for "
                f"{CHECK_EVERY * CHECKS_IN_A_ROW} steps (relative spread below "
                f"{SMALLEST_SPREAD:g}), {self._stuck()}; use a learning rate below "
                f"{self.learning_rate:g}, semi-hard or all triplets in place of hard ones, "
                "or a loss that normalises the embeddings"
            )

    def _stuck(self) -> str:
        mean, margin = sum(self.losses) / len(self.losses), self.margin or math.nan
        values = {
            "margin": margin,
            "squared margin": margin**2,
            "value for half the pairs at the squared margin": margin**2 / 2,
        }
        for name, value in values.items():
            if abs(mean - value) < 0.02 * value:
                return f"and the loss is stuck at {mean:.4g}, its {name}"
        return f"and the loss stays at {mean:.4g}"


def relative_spread(embeddings: Tensor) -> float:
    """RMS distance of embeddings (N, D) from their mean, relative to their mean norm."""
    embeddings = embeddings.detach().float()
    centred = embeddings - embeddings.mean(dim=0)
    norm = embeddings.norm(dim=1).mean().clamp_min(1e-12)
    return float(centred.square().sum(dim=1).mean().sqrt() / norm)


def all_finite(model: torch.nn.Module) -> bool:
    """Whether no weight is infinite or not a number."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())
