"""Muon: orthogonal steps for hidden convolutions, AdamW for everything else."""

import copy

import pytest
import torch
from torch import nn

from onelook.recipe import OptimizerSettings
from onelook.training.muon import Muon, orthogonalized
from onelook.training.optimizer import build_optimizer


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3, bias=False), nn.Flatten(), nn.Linear(64, 4)
    )


def backward(model):
    torch.manual_seed(1)
    model(torch.randn(4, 1, 6, 6)).square().mean().backward()


@pytest.mark.parametrize("shape", [(16, 72), (72, 16), (32, 32)])
def test_singular_vectors_stay_and_values_come_near_one(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 37.0
    result = orthogonalized(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    in_its_directions = left.T @ result @ right.T
    values = in_its_directions.diagonal()
    off = in_its_directions - torch.diag(values)
    assert off.abs().max() < 1e-4
    if shape[0] != shape[1]:  # a square matrix has values too small to come up in 4 steps
        assert 0.5 < values.min() and values.max() < 1.3


def test_only_hidden_convolutions_take_orthogonal_steps():
    model = network()
    settings = OptimizerSettings(name="muon", learning_rate=0.01, muon_rate=0.1)
    optimizer = build_optimizer(model, settings)
    flags = {
        id(p): (group["orthogonal"], group["lr"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert flags[id(model[1].weight)] == (True, 0.1)
    for parameter in (model[0].weight, model[0].bias, model[3].weight, model[3].bias):
        assert flags[id(parameter)] == (False, 0.01)


def test_a_step_is_the_orthogonal_one_there_and_adamw_elsewhere():
    model = network()
    reference = copy.deepcopy(model)
    settings = OptimizerSettings(name="muon", learning_rate=0.01, weight_decay=0.1)
    optimizer = build_optimizer(model, settings)
    adamw = build_optimizer(
        reference, OptimizerSettings(learning_rate=0.01, weight_decay=0.1)
    )
    backward(model), backward(reference)
    before, gradient = model[1].weight.detach().clone(), model[1].weight.grad.clone()
    optimizer.step(), adamw.step()
    for index in (0, 3):
        assert torch.equal(model[index].weight, reference[index].weight)
        assert torch.equal(model[index].bias, reference[index].bias)
    # The first momentum is the gradient, so Nesterov's look ahead is in its direction.
    moved = (before - model[1].weight).flatten(1) / settings.muon_rate
    torch.testing.assert_close(moved, orthogonalized(gradient.flatten(1)))


def test_decay_shrinks_the_weights_apart_from_the_step():
    weights = []
    for decay in (0.0, 0.5):
        model = network()
        settings = OptimizerSettings(name="muon", muon_rate=0.1, muon_decay=decay)
        optimizer = build_optimizer(model, settings)
        backward(model)
        before = model[1].weight.detach().clone()
        optimizer.step()
        weights.append(model[1].weight.detach())
    torch.testing.assert_close(weights[0] - weights[1], 0.1 * 0.5 * before)


def test_a_loaded_state_goes_on_bit_by_bit():
    model = network()
    optimizer = build_optimizer(model, OptimizerSettings(name="muon"))
    for _ in range(2):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
    other = copy.deepcopy(model)
    resumed = build_optimizer(other, OptimizerSettings(name="muon"))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert isinstance(resumed, Muon)
    for one, its_optimizer in ((model, optimizer), (other, resumed)):
        its_optimizer.zero_grad()
        backward(one)
        its_optimizer.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
