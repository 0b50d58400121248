"""The state of a training: whole or refused, and one line where it cannot be written."""

import numpy as np
import pytest
import torch

from onelook.errors import CheckpointError, TrainingError
from onelook.training import state as module
from onelook.training.state import load_state, save_state

STATE = {"together": {"w": torch.arange(12.0).reshape(3, 4)}, "position": {"step": 7}}


def same(found):
    equal = torch.equal(found["together"]["w"], STATE["together"]["w"])
    return equal and found["position"] == STATE["position"]


def test_what_was_saved_is_loaded_and_so_is_a_state_of_older_versions(tmp_path):
    path = tmp_path / "training" / "last.pt"
    save_state(path, STATE)
    assert same(load_state(path))
    torch.save({"format": 1, **STATE}, path)
    assert same(load_state(path))


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    whole = path.read_bytes()
    for at in np.random.default_rng(0).choice(8 * len(whole), 1000, replace=False):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="last.pt cannot be read: .*") as refusal:
            load_state(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"onelook state\n", b"text"])
def test_what_is_no_state_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="train again without --resume") as refusal:
        load_state(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("room", [0, 20, 500])
def test_a_full_disk_is_one_line_and_leaves_the_older_state(tmp_path, monkeypatch, room):
    path = tmp_path / "last.pt"
    save_state(path, STATE)

    class Full(module._Hashed):
        left = room

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                self.error = OSError(28, "No space left on device")
                raise self.error
            return super().write(data)

    monkeypatch.setattr(module, "_Hashed", Full)
    with pytest.raises(TrainingError, match="last.pt: No space left on device; make room"):
        save_state(path, {"position": {"step": 8}})
    assert same(load_state(path)) and [p.name for p in tmp_path.iterdir()] == ["last.pt"]
