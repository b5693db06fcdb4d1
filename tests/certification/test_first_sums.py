"""Intervals of the first sums of pixels are exact over balls; linear bounds leave them alone."""

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from tempering.certification import first_sums
from tempering.certification.first_sums import is_settled, sums_of
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import unsettled
from tempering.certification.interval import propagate
from tempering.certification.largest_gains import budget_gain, count_gain, euclidean_gain
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.models import Normalize
from tests.certification.nets import images, points

DEPTH = {"convolution": 1, "normalised": 2, "dense": 2}
"""Layers up to the first that sums."""


def built(name: str) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers: dict[str, list[nn.Module]] = {
            "convolution": [nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)],
            "normalised": [
                Normalize([0.4, 0.5], [0.3, 0.2]),
                nn.Conv2d(2, 40, 3, 1, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(1440, 2),
            ],
            "dense": [nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 2)],
        }
        return nn.Sequential(*layers[name]).eval()


THREATS = [Linf(0.1), L2(0.3), L1(0.7), L0(2)]


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", DEPTH)
def test_they_are_as_narrow_as_a_linear_bound_of_each(name: str, threat: Threat) -> None:
    net, x = built(name).double(), images(2).double()
    graph = graph_of(net, x)
    region = Region.around(x, threat)
    bounds = propagate(graph, region)
    first = next(i for i in range(len(graph.steps)) if is_sum(graph, i))
    low, high = (end.flatten(1) for end in bounds.intervals[first])
    for place in range(0, low.shape[1], 7):
        leaf = x.clone().requires_grad_()
        value = net[: DEPTH[name]](leaf)
        value = value.flatten(1)[:, place]
        (a,) = torch.autograd.grad(value.sum(), leaf)
        rest = value.detach() - (a * x).flatten(1).sum(1)
        rows = torch.arange(2)
        assert torch.allclose(low[:, place], region.least(a, rows) + rest, atol=1e-7)
        assert torch.allclose(high[:, place], -region.least(-a, rows) + rest, atol=1e-7)
    assert is_settled(graph, region, first)
    if first in graph.inputs_of_nonlinear:
        assert not bool(unsettled(graph, region, bounds, first).any())


def is_sum(graph: Graph, number: int) -> bool:
    operation = graph.steps[number].operation
    return operation is not None and not operation.pointwise


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", DEPTH)
def test_runs_in_float32_lie_within(name: str, threat: Threat) -> None:
    net, x = built(name), images(2)
    graph = graph_of(net, x)
    bounds = propagate(graph, Region.around(x, threat))
    first = next(i for i in range(len(graph.steps)) if is_sum(graph, i))
    with torch.no_grad():
        for z in points(threat, x, 60):
            value = net[: DEPTH[name]](z).double()
            low, high = bounds.intervals[first]
            assert bool(((value >= low) & (value <= high)).all())


def test_sums_hold_no_more_than_a_receptive_field() -> None:
    graph = graph_of(built("normalised"), images(1))
    sums = sums_of(graph, 2, torch.device("cpu"))
    assert sums is not None
    assert sums.coefficients.shape == (1440, 18)


def weights() -> tuple[Tensor, Tensor, Tensor]:
    streams = RandomStreams.of(4, 30)
    weight = streams.normal((8,)).double().abs()
    room = streams.derive("room").uniform((8,)).double()
    room[::3, :4] = 0.0
    return weight, room, streams.derive("cost").uniform((8,)).double()


def test_a_budget_is_spent_like_a_linear_programme() -> None:
    weight, room, cost = weights()
    cost[::4, 0] = 0.0
    for budget in (0.0, 0.3, 1.5, 9.0):
        bound = budget_gain(weight * room, cost, budget)
        for row in range(len(weight)):
            gain = (weight * room)[row]
            exact = -linprog(-gain.numpy(), [cost[row].numpy()], [budget], bounds=(0, 1)).fun
            assert float(bound[row]) >= exact - 1e-9
            if budget:
                assert float(bound[row]) == pytest.approx(exact, abs=1e-7)


def test_counts_take_the_largest_gains() -> None:
    weight, room, _ = weights()
    gain = weight * room
    assert torch.allclose(count_gain(gain, 3), gain.sort(1, descending=True).values[:, :3].sum(1))
    assert torch.equal(count_gain(gain, 0), torch.zeros(30, dtype=torch.float64))
    assert torch.allclose(count_gain(gain, 99), gain.sum(1))


@pytest.mark.parametrize("radius", [1e-6, 0.1, 1.0, 2.0, 50.0])
def test_a_length_is_shared_as_bisection_shares_it(radius: float) -> None:
    weight, room, _ = weights()
    least, most = torch.full((30, 1), 1e-14).double(), torch.full((30, 1), 1e9).double()
    for _ in range(200):
        m = (least * most).sqrt()
        long = torch.minimum(weight / (2 * m), room).norm(dim=1, keepdim=True) > radius
        least, most = torch.where(long, m, least), torch.where(long, most, m)
    exact = (weight * torch.minimum(weight / (2 * most), room)).sum(1)
    assert torch.allclose(euclidean_gain(weight, room, radius), exact, rtol=1e-6, atol=1e-12)


def chained() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, 2, 1), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(12, 4)
        ).eval()


@pytest.mark.parametrize("threat", THREATS[1:], ids=str)
def test_sums_of_sums_are_sums_of_pixels(threat: Threat) -> None:
    net, x = chained().double(), images(2).double()
    graph = graph_of(net, x)
    region = Region.around(x, threat)
    low, high = propagate(graph, region).intervals[-1]
    leaf = x.clone().requires_grad_()
    for place in range(4):
        value = net(leaf)[:, place]
        (a,) = torch.autograd.grad(value.sum(), leaf)
        rest = value.detach() - (a * x).flatten(1).sum(1)
        rows = torch.arange(2)
        assert torch.allclose(low[:, place], region.least(a, rows) + rest, atol=1e-7)
        assert torch.allclose(high[:, place], -region.least(-a, rows) + rest, atol=1e-7)


@pytest.mark.parametrize("threat", THREATS[1:], ids=str)
def test_norms_bound_sums_of_too_many_coefficients(
    threat: Threat, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = chained(), images(2)
    region = Region.around(x, threat)
    exact = propagate(graph_of(net, x), region).intervals[-1]
    monkeypatch.setattr(first_sums, "_MOST", 0)
    norms = propagate(graph_of(net, x), region).intervals[-1]
    monkeypatch.setattr(first_sums, "_PULLED", 0)
    box = propagate(graph_of(net, x), region).intervals[-1]
    for narrow, wide in ((exact, norms), (norms, box)):
        assert bool((wide.low < narrow.low).all())
        assert bool((wide.high > narrow.high).all())
    with torch.no_grad():
        for z in points(threat, x, 60):
            value = net(z).double()
            assert bool(((value >= norms.low) & (value <= norms.high)).all())


def test_coefficients_whose_squares_overflow_bound_nothing() -> None:
    x = images(1).double()
    region = Region.around(x, L2(0.3))
    a = torch.full_like(x, 1e200)
    assert region.least(a, torch.zeros(1, dtype=torch.int64)).tolist() == [-torch.inf]
    down, up = region.most_change(a.flatten(1), None)
    assert (down.tolist(), up.tolist()) == ([[torch.inf]], [[torch.inf]])
