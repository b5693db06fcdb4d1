"""Max-pooling between linear bounds, at points of its box and at corners."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.certification.max_pooling import MaxPooling, PoolingWindows
from tempering.certification.operations import IntervalTensor
from tempering.core.random import RandomStreams

WINDOWS = [
    PoolingWindows((2, 2), (2, 2), (0, 0), (1, 1)),
    PoolingWindows((3, 3), (1, 1), (1, 1), (1, 1)),
    PoolingWindows((3, 2), (2, 3), (1, 0), (2, 1)),
]


def pooled(at: PoolingWindows, z: Tensor) -> Tensor:
    return F.max_pool2d(z, at.kernel, at.stride, at.padding, at.dilation)


def box(n: int) -> IntervalTensor:
    streams = RandomStreams.of(9, n)
    low = streams.uniform((2, 6, 6), -1.0, 1.0).double()
    width = streams.derive("width").uniform((2, 6, 6)).double()
    settled = streams.derive("settled").uniform((2, 6, 6)) < 0.2
    return IntervalTensor(low, low + torch.where(settled, torch.zeros_like(width), width))


@pytest.mark.parametrize("at", WINDOWS, ids=str)
def test_linear_bounds_hold_at_every_point(at: PoolingWindows) -> None:
    given = box(6)
    relaxed = MaxPooling(at).relax(given)
    like = pooled(at, given.low)
    rows = torch.arange(len(like))
    for number in range(60):
        share = RandomStreams.of(number, 6).uniform((2, 6, 6)).double()
        if number % 2:
            share = share.round()
        z = given.low + share * (given.high - given.low)
        a = RandomStreams.of(number, 6).derive("a").normal(like.shape[1:]).double()
        pulled, constant = relaxed.pull(a, rows, None)
        bound = (pulled * z).flatten(1).sum(1) + constant
        assert bool((bound <= (a * pooled(at, z)).flatten(1).sum(1) + 1e-9).all())


def test_a_window_with_one_possible_winner_is_exact() -> None:
    given = box(1)
    low, high = given.low.clone(), given.high.clone()
    low[:, :, ::2, ::2], high[:, :, ::2, ::2] = 3.0, 4.0
    pool = MaxPooling(WINDOWS[0])
    assert not bool(pool.unsettled(IntervalTensor(low, high)).any())
    relaxed = pool.relax(IntervalTensor(low, high))
    a = torch.randn(1, 2, 3, 3).double()
    pulled, constant = relaxed.pull(a, torch.arange(1), None)
    assert torch.equal(pulled[:, :, ::2, ::2], a)
    assert float(pulled.abs().sum()) == float(a.abs().sum())
    assert float(constant.abs().max()) == 0.0


def highest(low: list[float], high: list[float], z: list[float]) -> float:
    """The upper bound of the largest of three numbers, at a point of their box."""
    ends = (torch.tensor(end).double().reshape(1, 1, 1, 3) for end in (low, high))
    pool = MaxPooling(PoolingWindows((1, 3), (1, 1), (0, 0), (1, 1)))
    pulled, constant = pool.relax(IntervalTensor(*ends)).pull(
        -torch.ones(1, 1, 1, 1).double(), torch.arange(1), None
    )
    return -float((pulled.flatten() * torch.tensor(z).double()).sum() + constant)


def test_above_it_is_the_better_of_a_constant_and_the_chords() -> None:
    equal = [0.0] * 3, [1.0] * 3
    assert highest(*equal, [1.0, 1.0, 1.0]) == pytest.approx(1.0), "chords alone would say 3"
    unequal = [0.0, -0.9, -0.9], [1.0, 0.1, 0.1]
    assert highest(*unequal, [0.0, -0.9, -0.9]) == pytest.approx(0.0), "the constant would say 1"
    assert highest(*unequal, [1.0, 0.1, 0.1]) <= 1.2 + 1e-6
