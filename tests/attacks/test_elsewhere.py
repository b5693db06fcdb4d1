"""Climbs side by side: what each sample gets does not depend on who climbs beside it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks.base import Problem
from tempering.attacks.elsewhere import to_each, to_the_best
from tempering.attacks.losses import ratio
from tempering.core.goals import Mislead
from tempering.core.passes import counted
from tempering.core.probe import Probe
from tempering.core.random import Draws
from tempering.core.threats import Linf
from tests.attacks.test_near_misses import Folded

N, STEPS = 40, 10
X = Draws.of(1, N).uniform((1, 6, 6)).double()


class OneAtATime(Probe):
    """A model that may be shown a sample once at a time."""

    remembers = True

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        assert index is None or len(index.unique()) == len(index)
        return super()._forward(x, index)


class Hasty(OneAtATime):
    """The same, and does not say so."""

    remembers = False


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return Folded().double()


def problem(net: nn.Module, rows: slice = slice(None), eps: float = 0.01) -> Problem:
    x = X[rows]
    return Problem(x, net(x).argmax(1), Linf(eps), Draws.of(3, N)[rows], Mislead(), 100)


def missing(net: nn.Module, problem: Problem, points: Tensor) -> float:
    """How little loss points are short of success on average."""
    logits = net(points).detach()
    return float(-ratio(logits, problem.protected(logits)).clamp_max(0).mean())


def test_more_targets_and_more_climbs_come_nearer(net: nn.Module) -> None:
    probe, one = Probe(net), problem(net, eps=0.05)
    first = missing(net, one, to_each(probe, one, STEPS, 1))
    assert missing(net, one, to_each(probe, one, STEPS, 3)) < first
    single = missing(net, one, to_the_best(probe, one, STEPS, 3, 1))
    several = to_the_best(probe, one, STEPS, 3, 4)
    assert missing(net, one, several) < single
    assert bool(one.threat.contains(several, one.x).all())


def test_a_sample_gets_the_same_alone_and_from_a_model_that_sees_it_once_at_a_time(
    net: nn.Module,
) -> None:
    together = to_the_best(Probe(net), problem(net), STEPS, 3, 2)
    alone = to_the_best(Probe(net), problem(net, slice(7, 9)), STEPS, 3, 2)
    patient = to_the_best(OneAtATime(net), problem(net), STEPS, 3, 2)
    assert torch.allclose(together[7:9], alone)
    assert torch.allclose(together, patient)
    with pytest.raises(AssertionError):
        to_the_best(Hasty(net), problem(net), STEPS, 3, 2)


def test_what_it_takes(net: nn.Module) -> None:
    far = problem(net, eps=1e-9)
    with counted() as each:
        to_each(Probe(net), far, STEPS, 3)
    with counted() as best:
        to_the_best(Probe(net), far, STEPS, 3, 2)
    assert each.backward == 3 * STEPS * N
    assert best.backward == (3 * 2 * (STEPS // 10) + 2 * STEPS) * N
