"""The least value of a linear function over ball and box, against closed forms and search."""

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from tempering.certification.region import Region
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, TOLERANCE, Linf, Threat

THREATS = [Linf(0.1), Linf(0.7), L2(0.05), L2(0.5), L2(3.0), L1(0.03), L1(0.8), L1(9.0)]


def context(n: int = 40) -> tuple[Tensor, Tensor]:
    streams = RandomStreams.of(1, n)
    x = (streams.uniform((1, 3, 4)) * 1.6 - 0.3).clamp(0, 1).double()
    a = streams.derive("a").normal((1, 3, 4)).double() ** 3
    a[::7, :, 0] = 0.0
    return x, a


def least(threat: Threat, x: Tensor, a: Tensor) -> Tensor:
    region = Region.around(x, threat)
    return region.least(a, torch.arange(len(x)))


def exact(threat: Threat, x: Tensor, a: Tensor) -> Tensor:
    """By linear programming in L-inf and L1, by bisection on the multiplier in L2."""
    slack = TOLERANCE * max(1.0, threat.eps)
    radius = threat.eps + slack
    x, a = x.flatten(1), a.flatten(1)
    low, high = -slack - x, 1 + slack - x
    if isinstance(threat, L2):
        least_, most = (
            torch.full((len(x), 1), 1e-12).double(),
            torch.full((len(x), 1), 1e6).double(),
        )
        for _ in range(300):
            middle = (least_ * most).sqrt()
            change = torch.maximum(torch.minimum(-a / (2 * middle), high), low)
            long = change.norm(dim=1, keepdim=True) > radius
            least_, most = torch.where(long, middle, least_), torch.where(long, most, middle)
        change = torch.maximum(torch.minimum(-a / (2 * most), high), low)
        return (a * (x + change)).sum(1)
    values = []
    for row in range(len(x)):
        size = x.shape[1]
        if isinstance(threat, Linf):
            bounds = torch.stack([low[row].clamp_min(-radius), high[row].clamp_max(radius)], 1)
            answer = linprog(a[row].numpy(), bounds=bounds.numpy())
        else:
            cost = torch.cat([a[row], -a[row]]).numpy()
            ends = [(0, float(end)) for end in torch.cat([high[row], -low[row]])]
            answer = linprog(cost, [[1.0] * 2 * size], [radius], bounds=ends)
        values.append(float(answer.fun) + float(a[row] @ x[row]))
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_least_value_is_exact(threat: Threat) -> None:
    x, a = context()
    bound, true = least(threat, x, a), exact(threat, x, a)
    assert bool((bound <= true + 1e-9).all())
    assert torch.allclose(bound, true, atol=1e-6)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_point_of_the_least_value_has_it(threat: Threat) -> None:
    x, a = context()
    region = Region.around(x, threat)
    point = region.where_least(a, torch.arange(len(x)))
    assert bool(threat.contains(threat.project(point, x), x).all())
    assert torch.allclose(point, threat.project(point, x), atol=1e-3)
    assert torch.allclose((a * point).flatten(1).sum(1), least(threat, x, a), atol=1e-4)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_region_holds_all_that_the_threat_accepts(threat: Threat) -> None:
    x, a = context()
    slack = TOLERANCE * max(1.0, threat.eps)
    wide = threat.with_eps(threat.eps + 0.99 * slack) if threat.eps < 1 else threat
    point = wide.project(x - 0.99 * slack - a.sign(), x) - 0.0
    assert bool(threat.contains(point, x).all())
    value = (a * point).flatten(1).sum(1)
    assert bool((value >= least(threat, x, a)).all())


def test_a_gradient_reaches_the_coefficients() -> None:
    for threat in (Linf(0.1), L2(0.5), L1(0.8)):
        x, a = context(5)
        a = a + 1e-3 * a.sign().where(a != 0, torch.ones_like(a))  # no kinks at 0
        region = Region.around(x, threat)
        rows = torch.arange(5)
        leaf = a.clone().requires_grad_()
        region.least(leaf, rows).sum().backward()
        way = torch.randn_like(a) * 1e-6
        change = region.least(a + way, rows) - region.least(a - way, rows)
        told = 2 * (leaf.grad * way).flatten(1).sum(1)
        assert torch.allclose(change, told, rtol=1e-2, atol=1e-9)
