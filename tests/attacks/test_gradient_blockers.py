"""From which size on an input gradient counts as one."""

import pytest
import torch
from torch import nn

from tempering.attacks.base import Problem
from tempering.attacks.gradient_blockers import vanished
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf


@pytest.mark.parametrize(("slope", "expected"), [(5e-31, True), (2e-30, False), (0.0, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_gradient_below_1e_30_has_vanished(slope: float, expected: bool, sign: int) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].weight[1, 2] = sign * slope
        net[1].bias.zero_()
    x = torch.full((3, 1, 2, 2), 0.5)
    y, streams = torch.zeros(3).long(), RandomStreams.of(0, 3)
    problem = Problem(x, y, Linf(0.1), streams, Untargeted(), 2)
    with probing(net) as probe:
        assert vanished(probe, problem).tolist() == [expected] * 3
