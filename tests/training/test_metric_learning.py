"""The adapter against pytorch-metric-learning itself, and against our own losses."""

import sys

import pytest
import torch

from onelook.errors import OnelookError
from onelook.recipe import NamedSettings
from onelook.training.losses import SupervisedContrastiveLoss, TripletMarginLoss, build_loss
from onelook.training.metric_learning import PytorchMetricLearningLoss

LABELS = torch.tensor([0, 1, 0, 2, 1, 2, 0, 3, 1])


def draw():
    return torch.randn(9, 4, generator=torch.Generator().manual_seed(0))


def test_the_adapter_computes_what_the_package_does():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    arguments = {"alpha": 1.5, "beta": 40.0}
    ours = PytorchMetricLearningLoss(
        "MultiSimilarityLoss", arguments, "MultiSimilarityMiner", {"epsilon": 0.2}
    )
    theirs = losses.MultiSimilarityLoss(**arguments)
    mined = miners.MultiSimilarityMiner(epsilon=0.2)(draw(), LABELS)
    torch.testing.assert_close(ours(draw(), LABELS), theirs(draw(), LABELS, mined))


def test_our_losses_equal_those_of_the_package():
    pytest.importorskip("pytorch_metric_learning")
    theirs = PytorchMetricLearningLoss("SupConLoss", {"temperature": 0.5})
    ours = SupervisedContrastiveLoss(0.5)
    torch.testing.assert_close(ours(draw(), LABELS), theirs(draw(), LABELS))
    distance = {"name": "LpDistance", "arguments": {"normalize_embeddings": False}}
    for reducer, active_only in (("MeanReducer", False), ("AvgNonZeroReducer", True)):
        theirs = PytorchMetricLearningLoss(
            "TripletMarginLoss",
            {"margin": 0.7, "distance": distance, "reducer": {"name": reducer}},
        )
        ours = TripletMarginLoss(0.7, active_only=active_only)
        torch.testing.assert_close(ours(draw(), LABELS), theirs(draw(), LABELS))


def test_losses_with_weights_of_their_own_learn_them_in_half_precision_too():
    pytest.importorskip("pytorch_metric_learning")
    arguments = {"num_classes": 4, "embedding_size": 4}
    loss = build_loss(
        NamedSettings(
            name="pytorch-metric-learning",
            arguments={"loss": "ProxyAnchorLoss", "arguments": arguments},
        )
    )
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(draw().bfloat16(), LABELS)
    value.backward()
    assert value.dtype == torch.float32
    assert [p.grad.shape for p in loss.parameters()] == [(4, 4)]


def test_unknown_names_and_a_missing_package_are_errors_that_say_what_to_do(monkeypatch):
    pytest.importorskip("pytorch_metric_learning")
    with pytest.raises(ValueError, match="no 'CircelLoss' in losses; known: .*CircleLoss"):
        PytorchMetricLearningLoss("CircelLoss")
    with pytest.raises(ValueError, match="no 'EasyMiner' in miners"):
        PytorchMetricLearningLoss("CircleLoss", miner="EasyMiner")
    with pytest.raises(ValueError, match="CircleLoss of pytorch-metric-learning: .*'mm'"):
        PytorchMetricLearningLoss("CircleLoss", {"mm": 1})
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(OnelookError, match=r"onelook\[losses\]"):
        PytorchMetricLearningLoss("CircleLoss")
