"""Parameter groups, schedules and averaged weights."""

import math

import pytest
import torch
from torch import nn

from onelook.recipe import OptimizerSettings
from onelook.training.optimizer import AveragedWeights, build_optimizer, set_schedule


def network():
    return nn.ModuleDict({"conv": nn.Linear(3, 4), "fc": nn.Linear(4, 2)})


def test_layers_have_their_own_rates_and_decays():
    settings = OptimizerSettings(
        name="sgd",
        learning_rate=0.1,
        weight_decay=0.5,
        layer_rates={"conv": 2.0},
        layer_decays={"conv.weight": 0.25},
    )
    model = network()
    optimizer = build_optimizer(model, settings)
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert found[id(model["conv"].weight)] == (0.2, 0.25)
    assert found[id(model["conv"].bias)] == (0.2, 0.5)
    assert found[id(model["fc"].weight)] == (0.1, 0.5)


def test_adamw_does_not_decay_biases():
    model = network()
    optimizer = build_optimizer(model, OptimizerSettings(weight_decay=0.5))
    for group in optimizer.param_groups:
        for p in group["params"]:
            assert group["weight_decay"] == (0.5 if p.ndim > 1 else 0.0)


def test_a_prefix_that_names_nothing_is_refused():
    settings = OptimizerSettings(layer_rates={"head": 2.0})
    with pytest.raises(ValueError, match="no parameter starts with 'head'"):
        build_optimizer(network(), settings)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", 1.0),
        ("cosine", 0.5 * (1 + math.cos(math.pi * 0.25))),
        ("linear", 0.75),
        ("exponential", 0.9**2),
    ],
)
def test_the_schedule_is_its_formula(schedule, expected):
    settings = OptimizerSettings(learning_rate=0.1, schedule=schedule, epoch_decay=0.9)
    optimizer = build_optimizer(network(), settings)
    set_schedule(optimizer, settings, step=20, n_steps=80, steps_per_epoch=10)
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.1 * expected)


def test_warmup_rises_linearly():
    settings = OptimizerSettings(learning_rate=0.1, warmup_steps=4)
    optimizer = build_optimizer(network(), settings)
    rates = []
    for step in range(6):
        set_schedule(optimizer, settings, step, n_steps=10, steps_per_epoch=5)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_momentum_rises_from_the_first_to_the_last_epoch():
    settings = OptimizerSettings(name="sgd", momentum=(0.5, 0.9))
    optimizer = build_optimizer(network(), settings)
    momenta = []
    for epoch in range(5):
        set_schedule(optimizer, settings, epoch * 10, n_steps=50, steps_per_epoch=10)
        momenta.append(optimizer.param_groups[0]["momentum"])
    assert momenta == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])


def test_averaged_weights_match_a_plain_loop_and_copy_buffers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    averaged = AveragedWeights(model, decay=0.9)
    expected = model[0].weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            model[0].weight += torch.randn(2, 2)
            model[1].running_mean += 1
        averaged.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(averaged.model[0].weight, expected)
    torch.testing.assert_close(averaged.model[1].running_mean, model[1].running_mean)
