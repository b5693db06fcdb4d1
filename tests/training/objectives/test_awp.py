"""Adversarial weight perturbation against a perturbation made by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tempering.core.errors import UsageError
from tempering.training import AWP, Interval, Standard, Trades
from tests.training.toys import batch_of, maker


def plain() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))


def test_the_gradient_is_that_at_weights_moved_by_a_share_of_their_norm() -> None:
    model, objective = plain(), AWP(gamma=0.1)
    made = batch_of(maker(), objective, model=model)
    weight, bias = model[1].weight, model[1].bias
    (slope,) = torch.autograd.grad(F.cross_entropy(model(made.x), made.y), weight)
    push = 0.1 * weight.detach().norm() * slope / slope.norm()
    moved = (weight + push).detach().requires_grad_(True)
    expected = F.cross_entropy(F.linear(made.x.flatten(1), moved, bias.detach()), made.y)
    (at_moved,) = torch.autograd.grad(expected, moved)
    before = weight.detach().clone()
    loss = objective(model, made).per_sample.mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    torch.testing.assert_close(weight.grad, at_moved)
    assert torch.equal(weight, before)
    assert float(loss.detach()) > float(F.cross_entropy(model(made.x), made.y).detach())


@pytest.mark.parametrize("inner", [Trades(steps=1), Interval(ramp_start=0.0, ramp_end=0.1)])
def test_the_loss_of_any_objective_grows(inner: Trades | Interval) -> None:
    model = plain()
    made = batch_of(maker(flag=None), inner, step=50, model=model)
    own = float(inner(model, made).per_sample.mean().detach())
    assert float(AWP(inner, gamma=0.05)(model, made).per_sample.mean().detach()) > own


def test_statistics_of_batch_norm_are_updated_once() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 3))
    made = batch_of(maker(flag=None), Standard(), model=model)
    model.train()
    AWP(gamma=0.05)(model, made)
    assert int(model[1].num_batches_tracked) == 1


def test_it_begins_after_its_share_of_the_training() -> None:
    model, late = plain(), AWP(gamma=0.1, after=0.5)
    for step, alike in ((49, True), (50, False)):
        made = batch_of(maker(), late, step=step, model=model)
        own = Standard()(model, made).per_sample
        assert torch.equal(late(model, made).per_sample, own) is alike


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match="awp: gamma = -1: give a number from 0 to 1"):
        AWP(gamma=-1)
