"""The shortest way to a hyperplane within the box, against its optimality conditions."""

import pytest
import torch
from torch import Tensor

from tempering.attacks.hyperplanes import smallest_step
from tempering.core.random import RandomStreams
from tempering.core.threats import NORMS, Threat

N = 60
X = RandomStreams.of(0, N).uniform((2, 3, 4)).double().round(decimals=1)
NORMAL = RandomStreams.of(1, N).normal((2, 3, 4)).double() ** 3
THREATS = [NORMS[norm](1.0) for norm in ("linf", "l2", "l1")]


def gain(way: Tensor) -> Tensor:
    return (way * NORMAL).flatten(1).sum(1)


def most(sign: float) -> Tensor:
    """What the box allows the function to change, in either direction."""
    up = torch.where(NORMAL * sign > 0, 1 - X, X)
    return (up * NORMAL.abs()).flatten(1).sum(1)


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("share", [0.001, 0.2, 0.7, 0.999, -0.3, -0.95])
def test_it_gets_there_within_the_box(threat: Threat, share: float) -> None:
    need = share * most(1.0 if share > 0 else -1.0)
    way = smallest_step(threat, X, X, NORMAL, need)
    assert torch.allclose(gain(way), need, rtol=1e-12, atol=1e-12)
    assert 0 <= float((X + way).min()) <= float((X + way).max()) <= 1
    assert bool((way * NORMAL * need[:, None, None, None] >= 0).all())


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_no_other_way_is_shorter(threat: Threat) -> None:
    """Against way + anything else that stays in the box and gains as much."""
    need = 0.4 * most(1.0)
    way = smallest_step(threat, X, X, NORMAL, need)
    length = threat.distance(way, torch.zeros_like(way))
    for seed in range(200):
        noise = 0.02 * RandomStreams.of(seed, N).normal(X.shape[1:]).double()
        other = (X + way + noise).clamp(0.0, 1.0) - X
        # bring its gain back with the shortest way from there
        other = other + smallest_step(threat, X + other, X, NORMAL, need - gain(other))
        assert torch.allclose(gain(other), need, rtol=1e-9)
        assert bool((threat.distance(other, torch.zeros_like(other)) >= length - 1e-9).all())


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_where_the_box_is_too_small_it_goes_to_the_corner(threat: Threat) -> None:
    way = smallest_step(threat, X, X, NORMAL, 2 * most(1.0))
    assert torch.allclose(X + way, (NORMAL > 0).double())


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_nothing_to_gain_or_to_climb_is_no_way(threat: Threat) -> None:
    assert not smallest_step(threat, X, X, NORMAL, torch.zeros(N).double()).any()
    assert not smallest_step(threat, X, X, torch.zeros_like(X), torch.ones(N).double()).any()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_scale_of_the_function_is_no_matter(threat: Threat, scale: float) -> None:
    need = 0.3 * most(1.0).float()
    way = smallest_step(threat, X.float(), X.float(), NORMAL.float(), need)
    scaled = smallest_step(threat, X.float(), X.float(), scale * NORMAL.float(), scale * need)
    assert torch.allclose(scaled, way, atol=1e-4)
