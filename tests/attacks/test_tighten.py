"""Bisection of the line from an image to its nearest success."""

import pytest
import torch

from tempering.attacks.base import Problem
from tempering.attacks.nearest import Nearest, tighten
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, Linf, Threat
from tests.attacks.linear import linear_case


@pytest.mark.parametrize("threat", [Linf(1.0), L2(9.0), L1(99.0)], ids=str)
def test_a_success_moves_to_the_boundary_on_its_line(threat: Threat) -> None:
    case = linear_case(n=9, size=3, saturated=0.0)
    x, push = case.x, case.push
    share = torch.linspace(0.1, 0.9, 9).double()
    # where the boundary lies on the line to each end, as a share of it
    steps = case.gap / push.flatten(1).square().sum(1) / share
    ends = x + steps[:, None, None, None] * push
    nearest = Nearest(ends.clone(), threat.distance(ends, x))
    nearest.distance[4] = torch.inf  # no success: it stays as it is
    whole = nearest.distance.clone()
    problem = Problem(x, case.y, threat, RandomStreams.of(0, 9), Untargeted(), 4)
    with probing(case.model) as probe:
        tighten(probe, problem, nearest, 12)
    assert nearest.distance[4] == torch.inf
    kept = nearest.distance / whole
    found = torch.arange(9) != 4
    assert bool((kept[found] >= share[found] - 1e-9).all())
    assert bool((kept[found] <= share[found] + 2**-12 + 1e-9).all())
    assert bool(case.broken(nearest.x_adv)[found].all())
    assert torch.equal(nearest.x_adv[4], ends[4])
