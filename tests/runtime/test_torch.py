"""TorchEncoder: NumPy in and out, scores that follow their weights, usable after a fork."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import EuclideanSimilarity, WeightedL1Head
from onelook.runtime.torch import TorchEncoder, tensors_of, torch_scores


def test_an_encoder_maps_arrays_to_arrays_by_side():
    left, right = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    inputs = np.eye(3, dtype=np.float32)
    encoder = TorchEncoder(PseudoSiamese(left, right, EuclideanSimilarity()))
    for side, layer in (("left", left), ("right", right)):
        expected = inputs @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        np.testing.assert_allclose(encoder({"images": inputs}, side), expected, atol=1e-6)
    assert encoder.embedding_size == 0  # a Linear does not state it
    assert TorchEncoder(Siamese(left, EuclideanSimilarity())).device.type == "cpu"


def test_sequences_become_values_and_lengths():
    values, lengths = np.ones((2, 3), np.int64), np.array([3, 1])
    found = tensors_of({"values": values, "lengths": lengths})
    assert isinstance(found, tuple) and [len(part) for part in found] == [2, 2]


def test_scores_follow_the_weights_of_a_head():
    head = WeightedL1Head(2)
    scores = torch_scores(head)
    left, right = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    for weight in (1.0, 3.0):
        torch.nn.init.constant_(head.linear.weight, weight)
        torch.nn.init.zeros_(head.linear.bias)
        assert scores.pairs(left, right)[0] == pytest.approx(2 * weight)
        assert scores.matrix(left, right)[0, 0] == pytest.approx(2 * weight)


FORK = """
import os, signal, numpy as np, onelook
verifier = onelook.load("omniglot")
images = list(np.random.default_rng(0).integers(0, 2, (64, 60, 60), dtype=np.uint8) * 255)
expected = verifier.embed(images)
if os.fork() == 0:
    signal.alarm(60)
    assert np.allclose(verifier.embed(images), expected, atol=1e-4)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_child_embeds_with_the_model_of_its_parent():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "7", done.stderr
