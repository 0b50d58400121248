"""Collapse and numbers that are none are named with what to change."""

import pytest
import torch

from onelook.errors import TrainingError
from onelook.training.health import (
    CHECK_EVERY,
    CHECKS_IN_A_ROW,
    HealthCheck,
    relative_spread,
)


def test_relative_spread_matches_a_plain_loop():
    embeddings = torch.randn(6, 3)
    mean = sum(embeddings) / 6
    distances = sum(float((e - mean).square().sum()) for e in embeddings) / 6
    norms = sum(float(e.norm()) for e in embeddings) / 6
    assert relative_spread(embeddings) == pytest.approx(distances**0.5 / norms, rel=1e-5)


def test_a_loss_stuck_at_its_margin_is_named_a_collapse():
    health = HealthCheck(margin=0.2, learning_rate=0.1, checkpoint="last.pt")
    alike = torch.ones(8, 4)
    with pytest.raises(TrainingError, match="collapsed by step .* 0.2, its margin"):
        for step in range(CHECK_EVERY * CHECKS_IN_A_ROW + 1):
            health.check(step, 0.2, alike)


def test_embeddings_that_differ_are_healthy():
    health = HealthCheck(margin=0.2, learning_rate=0.1, checkpoint="last.pt")
    for step in range(CHECK_EVERY * CHECKS_IN_A_ROW + 1):
        health.check(step, 0.2, torch.randn(8, 4))


def test_a_passing_likeness_is_no_collapse():
    health = HealthCheck(margin=None, learning_rate=0.1, checkpoint="last.pt")
    for step in range(CHECK_EVERY * CHECKS_IN_A_ROW * 3):
        alike = step % (CHECK_EVERY * CHECKS_IN_A_ROW) != 0
        health.check(step, 1.0, torch.ones(8, 4) if alike else torch.randn(8, 4))


def test_a_loss_that_is_no_number_names_the_step_and_the_checkpoint():
    health = HealthCheck(margin=None, learning_rate=0.1, checkpoint="runs/x/last.pt")
    with pytest.raises(TrainingError, match="nan at step 7.*runs/x/last.pt.*0.1"):
        health.check(7, float("nan"), torch.randn(8, 4))
