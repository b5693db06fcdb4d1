"""FMN where the linearized boundary lies far behind the true one."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import FMN
from tempering.core.threats import L1, L2, Linf, Threat


class Cubic(nn.Module):
    """Class 1 where v + 60 v^3 > 0.68, v being the pixel less 1/2: from v = 0.2 on."""

    def forward(self, x: Tensor) -> Tensor:
        v = x.flatten(1)[:, :1] - 0.5
        return torch.cat([torch.zeros_like(v), v + 60 * v**3 - 0.68], 1)


@pytest.mark.parametrize("threat", [Linf(0.5), L2(0.5), L1(0.5)], ids=str)
def test_after_a_success_the_radius_is_at_most_its_distance(threat: Threat) -> None:
    """The first success is at 0.2975, in a ball of radius 0.71 that shrinks by 5 % a step.

    Where the radius is cut to that distance, the steps that are left bring nearer ones.
    """
    x, y = torch.full((2, 1, 1, 1), 0.5), torch.zeros(2).long()
    x_adv = FMN(steps=12, step_size=0.15)(Cubic(), x, y, threat)
    distance = (x_adv - x).flatten()
    assert bool((Cubic()(x_adv).argmax(1) == 1).all())
    assert bool((distance > 0.2 - 1e-6).all())
    assert bool((distance < 0.25).all()), distance
