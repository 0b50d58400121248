import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from onelook.training.device import choose_device, trains_in_bf16

CPU = torch.device("cpu")


def test_a_device_is_chosen_or_named():
    assert choose_device("cpu") == CPU
    assert isinstance(choose_device(), torch.device)
    with pytest.raises(ValueError, match="no device 'quantum' for PyTorch here: "):
        choose_device("quantum")


def test_float32_is_not_asked_about():
    assert trains_in_bf16("fp32", CPU, nn.Linear(1, 1)) is False


def test_bf16_is_automatic_only_where_the_processor_is_fast_at_it():
    fast = torch.cpu._is_amx_tile_supported()
    assert trains_in_bf16("auto", CPU, nn.Linear(1, 1)) is fast
    assert trains_in_bf16("bf16", CPU, nn.Linear(1, 1)) is True


def test_where_an_lstm_has_no_bf16_it_is_trained_in_float32():
    """oneDNN is told to take the processor for one that has AVX2 only."""
    script = (
        "import logging, torch; logging.basicConfig()\n"
        "from torch import nn\n"
        "from onelook.training.device import trains_in_bf16\n"
        "lstm = nn.Sequential(nn.LSTM(2, 2))\n"
        "print(trains_in_bf16('bf16', torch.device('cpu'), lstm))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout.strip() == "False":
        assert done.stderr.count("cannot train the network in bf16: fp32 instead") == 1
