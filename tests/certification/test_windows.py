"""Bounds over windows equal those with whole rows, but for rounding."""

import pytest
import torch
from torch import Tensor, nn

from tempering.certification import hidden_intervals
from tempering.certification.crown import BoundParameters
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import WholeRows, crown_intervals
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.certification.window_bounds import WindowRows
from tempering.certification.windows import Extent, Windows, window_plan
from tempering.core.threats import L1, L2, Linf, Threat
from tests.certification.nets import build, images

SHAPE = (2, 17, 15)


class Towers(nn.Module):
    """Branches of other kernels that meet in sums and in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, 1, 1)
        self.norm = nn.BatchNorm2d(4)
        self.wide, self.short = nn.Conv2d(4, 6, (3, 5), 2, (1, 2)), nn.Conv2d(4, 6, 1, 2)
        self.last = nn.Conv2d(12, 12, 3, 1, 2, dilation=2, groups=2)
        self.head = nn.Linear(12 * 9 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.first(x)))
        h = torch.relu(self.wide(h) + self.short(h))
        h = torch.cat([h, torch.tanh(h - 0.5)], 1)
        return self.head(torch.relu(self.last(h) - h).flatten(1))


def towers() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = Towers().double().eval()
        nn.init.uniform_(net.norm.running_var, 0.2, 1.0)
        nn.init.normal_(net.norm.bias, std=0.2)
    return net


def rows(count: int) -> tuple[Tensor, Tensor]:
    return torch.arange(count).repeat(2), torch.tensor([1.0, -1.0]).double().repeat_interleave(
        count
    )


def both(graph: Graph, threat: Threat, x: Tensor, at: int) -> tuple[WindowRows, WholeRows]:
    """All neurons of a step, by both ways."""
    region = Region.around(x, threat)
    bounds = propagate(graph, region)
    size = bounds.intervals[at].low[0].numel()
    places = torch.arange(0, size, 1 + size // 300)
    samples = torch.arange(len(x)).repeat_interleave(len(places))
    places = places.repeat(len(x))
    plan = window_plan(graph, at, bounds)
    assert plan.pays
    common = graph, bounds, region, at
    own = samples, places, *rows(len(places))
    return WindowRows(*common, plan, *own), WholeRows(*common, *own)


@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.3), L1(0.6)], ids=str)
def test_windows_give_the_bounds_of_whole_rows(threat: Threat) -> None:
    x = images(2, SHAPE).double()
    graph = graph_of(towers(), x)
    stops = []
    for at in graph.inputs_of_nonlinear:
        windows, whole = both(graph, threat, x, at)
        stops.append(windows.plan.stop)
        expected = whole.lower_bound(BoundParameters())
        assert torch.allclose(windows.lower_bound(BoundParameters()), expected, atol=1e-10)
    assert min(stops) == -1 < max(stops)  # to the image, and to a step where windows are too wide


@pytest.mark.parametrize("name", ["relu", "strides", "same", "residual", "ours", "clamps"])
def test_windows_of_small_networks_give_the_bounds_of_whole_rows(name: str) -> None:
    net, x = build(name, torch.float64), images(2).double()
    graph = graph_of(net, x)
    bounds = propagate(graph, Region.around(x, Linf(0.05)))
    steps = [at for at in graph.inputs_of_nonlinear if window_plan(graph, at, bounds).pays]
    assert steps
    for at in steps:
        windows, whole = both(graph, Linf(0.05), x, at)
        expected = whole.lower_bound(BoundParameters())
        assert torch.allclose(windows.lower_bound(BoundParameters()), expected, atol=1e-10)


def test_slopes_over_windows_are_those_of_whole_rows() -> None:
    x = images(1, SHAPE).double()
    graph = graph_of(towers(), x)
    at = list(graph.inputs_of_nonlinear)[1]
    windows, whole = both(graph, Linf(0.1), x, at)
    assert windows.slopes().keys() == whole.slopes().keys()
    for lower in (0.0, 0.4, 1.0):
        bounds = [
            own.lower_bound(
                BoundParameters({step: slope * 0 + lower for step, slope in own.slopes().items()})
            )
            for own in (windows, whole)
        ]
        assert torch.allclose(*bounds, atol=1e-10)
    some = torch.tensor([3, 9, len(windows.rows) - 1])
    chosen = {step: slope[some] for step, slope in windows.slopes().items()}
    part = windows.part(some).lower_bound(BoundParameters(chosen))
    assert torch.allclose(part, windows.lower_bound(BoundParameters())[some], atol=1e-10)


def test_hidden_bounds_of_convolutions_are_made_over_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No whole row is needed where every neuron sees little."""
    net, x = build("relu", torch.float64), images(2).double()
    graph, region = graph_of(net, x), Region.around(x, Linf(0.05))

    def never(self: WholeRows, tuning: BoundParameters) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(hidden_intervals.WholeRows, "lower_bound", never)
    loose = propagate(graph, region)
    tight = crown_intervals(graph, region, loose)
    at = max(graph.inputs_of_nonlinear)
    assert bool((tight.intervals[at].low > loose.intervals[at].low).any())


def test_a_window_is_cut_with_zeros_outside() -> None:
    values = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    extent = Extent((2, 1), (-1, -1), (3, 2))
    windows = Windows.of(extent, (1, 3, 4), (2, 4), torch.tensor([0, 7]))
    cut = windows.cut(values, torch.tensor([0, 0]))
    assert cut[0, 0].tolist() == [[0, 0], [0, 1], [0, 5]]
    assert cut[1, 0].tolist() == [[7, 8], [11, 12], [0, 0]]
    back = windows.whole(cut, torch.arange(2))
    assert torch.equal(back[0], torch.where((values[0] == 1) | (values[0] == 5), values[0], 0.0))
