"""What a recipe's optimizer settings mean: parameter groups, schedule, averaged weights."""

import copy
import math
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from onelook.recipe import OptimizerSettings
from onelook.training.muon import Muon

Model = TypeVar("Model", bound=nn.Module)


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimizer over ``model``'s parameters, each group with its ``base_rate``."""
    grouped: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    names = [name for name, _ in model.named_parameters()]
    for prefix in {**settings.layer_rates, **settings.layer_decays}:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(
                f"no parameter starts with {prefix!r}; there are {', '.join(names)}"
            )
    # Muon is for the weights of all convolutions but the first, which sees pixels.
    kernels = [name for name, weight in model.named_parameters() if weight.ndim == 4]
    for name, parameter in model.named_parameters():
        is_orthogonal = settings.name == "muon" and name in kernels[1:]
        rate = settings.muon_rate if is_orthogonal else settings.learning_rate
        rate *= _by_prefix(settings.layer_rates, name, 1.0)
        decay = settings.muon_decay if is_orthogonal else settings.weight_decay
        decay = _by_prefix(settings.layer_decays, name, decay)
        if settings.name in ("adamw", "muon") and parameter.ndim < 2:
            decay = 0.0  # norms and biases are scales, not weights
        grouped.setdefault((rate, decay, is_orthogonal), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "base_rate": rate, "lr": rate, "weight_decay": decay}
        for (rate, decay, _), parameters in grouped.items()
    ]
    if settings.name == "muon":
        for group, (_, _, is_orthogonal) in zip(groups, grouped, strict=True):
            group["orthogonal"] = is_orthogonal
        return Muon(groups)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum[0], fused=True)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, fused=True)


def _by_prefix(table: dict[str, float], name: str, default: float) -> float:
    matches = [prefix for prefix in table if name.startswith(prefix)]
    return table[max(matches, key=len)] if matches else default


def set_schedule(
    optimizer: torch.optim.Optimizer,
    settings: OptimizerSettings,
    step: int,
    n_steps: int,
    steps_per_epoch: int,
) -> float:
    """Set each group's rate and momentum for ``step`` (from 0); give the rate's factor."""
    progress = step / max(1, n_steps)
    epoch = step // steps_per_epoch
    factor = {
        "constant": 1.0,
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "exponential": settings.epoch_decay**epoch,
    }[settings.schedule]
    if step < settings.warmup_steps:
        factor *= (step + 1) / settings.warmup_steps
    start, end = settings.momentum
    for group in optimizer.param_groups:
        group["lr"] = group["base_rate"] * factor
        if settings.name == "sgd":
            n_epochs = max(1, n_steps // steps_per_epoch - 1)
            group["momentum"] = start + (end - start) * min(1.0, epoch / n_epochs)
    return factor


class AveragedWeights(Generic[Model]):
    """An exponential moving average of a network's weights, as a network of its own.

    Buffers (the statistics of batch norm) are copied: they are averages already.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model: Model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        # The first steps count less than the last: the start of a training is no part of
        # an average.
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = [*self.model.parameters()]
        values: list[Tensor] = [*model.parameters()]
        torch._foreach_lerp_(averages, values, 1 - decay)
        if buffers := list(model.buffers()):
            torch._foreach_copy_(list(self.model.buffers()), buffers)
