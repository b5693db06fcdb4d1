"""The thresholds of `vanishing gradients`: models just above and just below each of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.evaluation.flags import ExaminedSamples
from tempering.evaluation.flags.gradient_quality import check_vanishing_gradients

THREAT = Linf(0.1)
WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 0.25]).reshape(1, 2, 2)


class Weakened(nn.Module):
    """A linear model whose gradient is multiplied by a factor for each sample."""

    def __init__(self, factors: Tensor, offset: float = 0.0) -> None:
        super().__init__()
        self.factors, self.offset = factors, offset

    def forward(self, x: Tensor) -> Tensor:
        score = ((x - 0.5) * WEIGHTS.to(x)).flatten(1).sum(1)
        score = self.factors * score + (1 - self.factors) * score.detach()
        return torch.stack([torch.zeros_like(score), score], 1) + self.offset


def examined(factors: Tensor, offset: float = 0.0, dtype: torch.dtype = torch.float64) -> list[int]:
    """The rows on which gradients vanish."""
    n = len(factors)
    x = RandomStreams.of(0, n).uniform((1, 2, 2), 0.3, 0.7).to(dtype)
    model = Weakened(factors.to(dtype), offset)
    streams = RandomStreams.of(1, n)
    part = ExaminedSamples(model, x, torch.zeros(n).long(), THREAT, streams)
    flag = check_vanishing_gradients(part)
    return [] if flag is None else [int(name) for name in flag.samples]


def ratios(n: int) -> Tensor:
    """The first-order change of an unweakened gradient over the change at the random point."""
    x = RandomStreams.of(0, n).uniform((1, 2, 2), 0.3, 0.7).double()
    part = ExaminedSamples(nn.Identity(), x, torch.zeros(n).long(), THREAT, RandomStreams.of(1, n))
    moved = ((part.nearby("vanishing") - x) * WEIGHTS).flatten(1).sum(1).abs()
    return THREAT.eps * float(WEIGHTS.abs().sum()) / moved


@pytest.mark.parametrize(("share", "vanishes"), [(0.8, True), (1.25, False)])
def test_a_gradient_vanishes_below_a_hundredth_of_a_random_step(
    share: float, vanishes: bool
) -> None:
    rows = examined(share * 0.01 / ratios(20))
    assert rows == (list(range(20)) if vanishes else [])


@pytest.mark.parametrize(("share", "vanishes"), [(0.8, True), (1.25, False)])
def test_a_gradient_vanishes_below_sixteen_units_of_rounding(share: float, vanishes: bool) -> None:
    first_order = THREAT.eps * float(WEIGHTS.abs().sum())
    unit = torch.finfo(torch.float32).eps
    rows = examined(torch.ones(20), first_order / (16 * unit) / share, torch.float32)
    assert rows == (list(range(20)) if vanishes else [])


@pytest.mark.parametrize(("n", "flagged"), [(100, True), (102, False)])
def test_one_sample_of_a_hundred_is_enough(n: int, flagged: bool) -> None:
    factors = torch.ones(n, dtype=torch.float64)
    factors[7] = 1e-3 / ratios(n)[7]
    assert examined(factors) == ([7] if flagged else [])
