"""The bare optimizer step on tensors in memory, with switches that may or may not pay."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from onelook.models.network import build_model
from onelook.recipe import Recipe
from onelook.training.augment import Augment
from onelook.training.data import TrainingData
from onelook.training.loop import model_settings
from onelook.training.losses import build_loss
from onelook.training.optimizer import build_optimizer
from onelook.training.step import batch_loss, network_inputs, prefetched

LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Switches:
    """What may make a step quicker. All off is PyTorch as it comes.

    Args:
        fused: Adam as one kernel.
        recipe_optimizer: The recipe's own optimizer in place of Adam.
        channels_last: Images and convolutions in (N, H, W, C).
        bf16: Autocast to bfloat16.
        compiled: ``torch.compile`` of the encoder.
    """

    fused: bool = False
    recipe_optimizer: bool = False
    channels_last: bool = False
    bf16: bool = False
    compiled: bool = False


class BareStep:
    """Forward, loss, backward and optimizer step of a recipe, always on the same batch.

    The batch is the recipe's first, augmented and normalised beforehand; the twins go
    through the network as the recipe says.

    Args:
        recipe, material: Recipe and training data of the network.
        device: Where it runs.
    """

    def __init__(self, recipe: Recipe, material: TrainingData, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.recipe = recipe
        self.device = torch.device(device)
        self.model = build_model(model_settings(recipe, material)).to(self.device).train()
        self.loss = build_loss(recipe.loss).to(self.device)
        self.encoder = self.model.encoder
        with prefetched(material, recipe.data.rotations, 0, 1, self.device) as batches:
            raw = next(batches)
        generator = torch.Generator().manual_seed(0)
        inputs, _ = network_inputs(raw, material, Augment(recipe.augment), generator)
        assert isinstance(inputs, Tensor)
        self.inputs, self.batch = inputs, raw.batch

    @cached_property
    def plain_adam(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self._parameters(), lr=LEARNING_RATE)

    @cached_property
    def fused_adam(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self._parameters(), lr=LEARNING_RATE, fused=True)

    @cached_property
    def recipe_optimizer(self) -> torch.optim.Optimizer:
        together = torch.nn.ModuleDict({"model": self.model, "loss": self.loss})
        return build_optimizer(together, self.recipe.optimizer)

    @cached_property
    def compiled(self) -> Any:
        return torch.compile(self.encoder)

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [*self.model.parameters(), *self.loss.parameters()]

    def use(self, switches: Switches) -> Callable[[], int]:
        """The step with these switches; it lasts until others are set."""
        layout = torch.channels_last if switches.channels_last else torch.contiguous_format
        self.model.to(memory_format=layout)
        self.model.encoder = self.compiled if switches.compiled else self.encoder
        images = self.inputs.contiguous(memory_format=layout)
        optimizer = self.fused_adam if switches.fused else self.plain_adam
        if switches.recipe_optimizer:
            optimizer = self.recipe_optimizer
        in_front = nullcontext() if switches.channels_last else ChannelsFirst()
        kind, twins = self.device.type, self.recipe.twins

        def step() -> int:
            with in_front, torch.autocast(kind, torch.bfloat16, enabled=switches.bf16):
                loss, _ = batch_loss(self.model, self.loss, self.batch, images, None, twins)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return len(images)

        return step

    def seconds(self, switches: Switches, steps: int) -> float:
        """Seconds of that many steps."""
        step = self.use(switches)
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    def encoder_turns_channels_last(self) -> bool:
        """Whether the encoder asks for channels-last itself."""
        with ChannelsFirst() as watched, torch.no_grad():
            self.encoder(self.inputs[:2])
        return watched.was_asked


class ChannelsFirst(TorchFunctionMode):
    """Keeps channels first, even if the encoder asks for channels-last itself."""

    was_asked = False

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.contiguous:
            if kwargs.get("memory_format") == torch.channels_last:
                self.was_asked = True
                return args[0]
        return function(*args, **kwargs)
