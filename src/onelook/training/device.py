"""What the machine at hand can do: the device that trains, and in which precision."""

import logging
import os
from functools import cache

import torch
from torch import nn

from onelook.runtime.torch import named_device

log = logging.getLogger(__name__)


def choose_device(name: str | None = None) -> torch.device:
    """The device that is named, such as "cuda" or "cpu"; else the fastest there is."""
    name = name or os.environ.get("ONELOOK_DEVICE")
    if name is not None:
        return named_device(name)
    return torch.accelerator.current_accelerator(True) or torch.device("cpu")


def trains_in_bf16(precision: str, device: torch.device, model: nn.Module) -> bool:
    """Whether a training computes in bf16: "auto" does where the device is fast at it."""
    if precision == "fp32" or precision == "auto" and not _fast_in_bf16(device):
        return False
    if not _can_in_bf16(device, any(isinstance(m, nn.LSTM) for m in model.modules())):
        log.warning("this machine cannot train the network in bf16: fp32 instead")
        return False
    return True


def _fast_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


@cache
def _can_in_bf16(device: torch.device, lstm: bool) -> bool:
    layer: nn.Module = nn.LSTM(4, 4) if lstm else nn.Linear(4, 4)
    try:
        with torch.autocast(device.type, torch.bfloat16):
            found = layer.to(device)(torch.zeros(2, 2, 4, device=device))
        (found[0] if lstm else found).float().sum().backward()
    except RuntimeError:
        return False
    return True
