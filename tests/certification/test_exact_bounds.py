"""Regions and bounds against exact rational arithmetic, without any tolerance.

Bounds are computed in float64 and rounded outwards. Half of all sums round the wrong way, so
a bound without its margin for rounding fails on some of many random rows.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import pytest
import torch
from torch import Tensor, nn

from tempering.certification.crown import crown_lower_bound, interval_lower_bound
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.precision import Precision
from tempering.certification.region import Region
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, TOLERANCE, Linf, Threat

N, SIDE = 12, 6
INSIDE = [Linf(0.1), L2(0.3), L1(0.4)]
"""Balls around images between 0.45 and 0.55 that do not reach the ends of the box."""
Row = list[Fraction]


def exact(values: Tensor) -> Row:
    return [Fraction(value) for value in values.detach().double().flatten().tolist()]


def dot(a: Row, b: Row) -> Fraction:
    return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))


def slack(threat: Threat) -> Fraction:
    return Fraction(TOLERANCE * max(1.0, threat.eps))


def dual(a: Row, norm: str) -> Fraction:
    """The dual norm; in L2 rounded down by less than 1e-40."""
    if norm == "l1":
        return max(abs(value) for value in a)
    square = dot(a, a) * 10**80
    return Fraction(isqrt(square.numerator // square.denominator), 10**40)


def least(a: Row, region: Region, row: int) -> Fraction:
    """The least a . z over a region whose ball, in L2 and L1, lies within the box."""
    if region.norm == "linf":
        ends = zip(a, exact(region.box.low[row]), exact(region.box.high[row]), strict=True)
        return sum((min(value * low, value * high) for value, low, high in ends), Fraction(0))
    return dot(a, exact(region.x[row])) - Fraction(region.radius) * dual(a, region.norm)


def images(low: float, high: float) -> Tensor:
    return RandomStreams.of(3, N).uniform((1, SIDE, SIDE), low, high).double()


def coefficients() -> Tensor:
    return RandomStreams.of(4, N).normal((1, SIDE, SIDE)).double()


@pytest.mark.parametrize("threat", [Linf(0.1), Linf(0.3), L2(0.7), L1(3.0)], ids=str)
def test_box_and_radius_hold_all_that_the_threat_accepts(threat: Threat) -> None:
    x = images(0.0, 1.0)
    x[0], x[1] = 0.0, 1.0
    region = Region.around(x, threat)
    radius = Fraction(threat.eps) + slack(threat)
    assert Fraction(region.radius) >= radius
    for value, low, high in zip(
        exact(x), exact(region.box.low), exact(region.box.high), strict=True
    ):
        assert low <= max(value - radius, Fraction(-float(slack(threat))))
        assert high >= min(value + radius, Fraction(1 + float(slack(threat))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("threat", [*INSIDE, Linf(0.3)], ids=str)
def test_the_ball_holds_the_farthest_points_that_the_threat_accepts(
    threat: Threat, dtype: torch.dtype
) -> None:
    """Dark pixels that grow lighter: their differences round in the type of the images."""
    x = images(0.0, 0.01).to(dtype)
    way = coefficients().abs().to(dtype)
    if threat.name == "linf":  # a single pixel
        way = L1(1.0).ascent(coefficients().abs().to(dtype))
    way = way / threat.distance(way, torch.zeros_like(way))[:, None, None, None]
    radius = Fraction(Region.around(x, threat).radius)
    length = threat.eps + TOLERANCE * max(1.0, threat.eps)
    accepted = 0
    unit = torch.finfo(dtype).eps / 8
    for steps in range(-12, 13):
        points = x + way * (length * (1 + steps * unit))
        kept = threat.contains(points, x)
        accepted += int(kept.sum())
        for point, image in zip(points[kept], x[kept], strict=True):
            change = [abs(p - q) for p, q in zip(exact(point), exact(image), strict=True)]
            match threat.name:
                case "linf":
                    assert max(change) <= radius
                case "l2":
                    assert dot(change, change) <= radius**2
                case _:
                    assert sum(change) <= radius
    assert accepted > 0


@pytest.mark.parametrize("threat", [*INSIDE, Linf(0.0), Linf(0.9)], ids=str)
def test_the_least_value_of_a_region_is_a_lower_bound(threat: Threat) -> None:
    x, a = images(0.45, 0.55), coefficients()
    region = Region.around(x, threat)
    bound = region.least(a, torch.arange(N))
    for row in range(N):
        assert Fraction(float(bound[row])) <= least(exact(a[row]), region, row)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("threat", INSIDE, ids=str)
def test_bounds_of_a_linear_network_hold(threat: Threat, dtype: torch.dtype) -> None:
    """Intervals of all outputs, and bounds of their differences by both ways.

    They leave room for the rounding of the network itself, gamma_n (|W| |z| + |b|).
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8)).to(dtype)
    x = images(0.45, 0.55).to(dtype)
    graph, region = graph_of(net, x), Region.around(x, threat)
    bounds = propagate(graph, region)
    weights, shifts = [exact(row) for row in net[1].weight], exact(net[1].bias)
    share = gamma(SIDE * SIDE + 1, Fraction(torch.finfo(dtype).eps) / 2)

    def rounding(output: int, row: int) -> Fraction:
        size = dot([abs(value) for value in weights[output]], exact(region.box.low[row]))
        return share * (size + abs(shifts[output]))

    for row in range(N):
        low, high = (exact(end[row]) for end in bounds.intervals[-1])
        for number, (weight, shift) in enumerate(zip(weights, shifts, strict=True)):
            room = rounding(number, row)
            assert low[number] <= shift + least(weight, region, row) - room
            opposite = [-value for value in weight]
            assert high[number] >= shift - least(opposite, region, row) + room
    sample = torch.arange(N).repeat_interleave(7)
    a = torch.zeros(7, 8, dtype=torch.float64)
    a[:, 0], a[torch.arange(7), torch.arange(1, 8)] = 1.0, -1.0
    last = len(graph.steps) - 1
    by_crown, _ = crown_lower_bound(graph, bounds, region, last, sample, a.repeat(N, 1))
    by_intervals = interval_lower_bound(graph, bounds, region, last, sample, a.repeat(N, 1))
    for number in range(7 * N):
        row, rival = number // 7, 1 + number % 7
        weight = [p - q for p, q in zip(weights[0], weights[rival], strict=True)]
        true = shifts[0] - shifts[rival] + least(weight, region, row)
        true -= rounding(0, row) + rounding(rival, row)
        assert Fraction(float(by_crown[number])) <= true
        assert Fraction(float(by_intervals[number])) <= true


def gamma(terms: int, unit: Fraction) -> Fraction:
    return terms * unit / (1 - terms * unit)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, 24), (torch.float64, 53)], ids=str)
@pytest.mark.parametrize(("terms", "fan_out"), [(1, 1), (2, 9), (37, 8), (785, 100), (9, 4608)])
def test_sums_are_charged_for_the_network_and_for_the_bounds(
    dtype: torch.dtype, bits: int, terms: int, fan_out: int
) -> None:
    """Higham's bound of the network's own sums, and those of two sums in float64."""
    precision = Precision.of(dtype, torch.device("cpu"))
    own, bound = Fraction(1, 2**bits), Fraction(1, 2**53)
    needed = gamma(terms, own) + gamma(terms, bound) + gamma(fan_out, bound)
    assert Fraction(precision.sums(terms, fan_out)) >= needed
    assert Fraction(precision.values(terms)) >= gamma(terms, own) * (1 - 2 * terms * own)
