"""Linear bounds against CROWN written with matrices, against brute force, and against samples."""

import itertools

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from tempering.certification.alpha_crown import AlphaCrown, initial_parameters, optimized_bounds
from tempering.certification.crown import crown_lower_bound, interval_lower_bound
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import alpha_intervals, crown_intervals
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.lowering import graph_of
from tempering.certification.operations import IntervalTensor
from tempering.certification.region import Region
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, TOLERANCE, Linf, Threat
from tests.certification.dense import Layers, margins
from tests.certification.nets import build, each_beside, images, points

EPS = 0.04


def perceptron(sizes: list[int], seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stages: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layer = nn.Linear(before, after)
            layer.weight.data.mul_(2.0)
            stages += [layer, nn.ReLU()]
    return nn.Sequential(*stages[:-1]).double()


def layers_of(net: nn.Sequential) -> Layers:
    linear = [module for module in net if isinstance(module, nn.Linear)]
    return [(layer.weight.detach(), layer.bias.detach()) for layer in linear]


def inner(n: int, size: int) -> Tensor:
    """Images so far from the box that it cuts no ball."""
    return RandomStreams.of(5, n).uniform((1, 1, size), 0.3, 0.7).double()


def every_margin(n: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Samples, and coefficients of output 0 less each other one."""
    eye = torch.eye(outputs, dtype=torch.float64)
    a = (eye[:1] - eye[1:]).repeat(n, 1)
    return torch.arange(n).repeat_interleave(outputs - 1), a


def radius(threat: Threat) -> float:
    """What the ball measures with its tolerance."""
    return threat.eps + TOLERANCE * max(1.0, threat.eps)


@pytest.mark.parametrize("sizes", [[4, 7, 3], [5, 9, 8, 4], [6, 8, 8, 8, 3]], ids=str)
def test_it_is_crown_as_written_with_matrices(sizes: list[int]) -> None:
    net, x = perceptron(sizes), inner(4, sizes[0])
    graph = graph_of(net, x)
    region = Region.around(x, Linf(EPS))
    # the paper bounds hidden neurons by lines alone; here the better of lines and intervals
    bounds = _by_lines_alone(graph, region)
    rows, a = every_margin(len(x), sizes[-1])
    bound, _ = crown_lower_bound(graph, bounds, region, len(graph.steps) - 1, rows, a)
    layers = layers_of(net)
    eye = torch.eye(sizes[-1], dtype=torch.float64)
    expected = [
        margins(layers, eye[:1] - eye[1:], image.flatten(), radius(Linf(EPS))) for image in x
    ]
    assert torch.allclose(bound, torch.cat(expected), atol=1e-9)
    tight = crown_intervals(graph, region, propagate(graph, region))
    best, _ = crown_lower_bound(graph, tight, region, len(graph.steps) - 1, rows, a)
    assert bool((best >= torch.cat(expected) - 1e-9).all())


def _by_lines_alone(graph: Graph, region: Region) -> StepBounds:
    def sharpen(number: int, bounds: StepBounds) -> IntervalTensor:
        known = bounds.intervals[number]
        size = known.low[0].numel()
        unit = torch.eye(size, dtype=torch.float64).repeat(len(known.low), 1)
        rows = torch.arange(len(known.low)).repeat_interleave(size)
        low, _ = crown_lower_bound(graph, bounds, region, number, rows, unit)
        high, _ = crown_lower_bound(graph, bounds, region, number, rows, -unit)
        return IntervalTensor(low.reshape(known.low.shape), -high.reshape(known.low.shape))

    return propagate(graph, region, None, sharpen)


def least_by_patterns(net: nn.Sequential, x: Tensor, c: Tensor, eps: float) -> float:
    """The exact least margin: one linear program for each pattern of ReLU signs."""
    layers = layers_of(net)
    hidden = [len(bias) for _, bias in layers[:-1]]
    ends = [(float(value) - eps, float(value) + eps) for value in x]
    best = float("inf")
    for pattern in itertools.product((0.0, 1.0), repeat=sum(hidden)):
        signs = torch.tensor(pattern, dtype=torch.float64).split(hidden)
        w, b = layers[0]
        rows, limits = [], []
        for sign, (after, shift) in zip(signs, layers[1:], strict=True):
            way = (1 - 2 * sign)[:, None]
            rows.append(way * w)
            limits.append(-way[:, 0] * b)
            w, b = after @ (sign[:, None] * w), after @ (sign * b) + shift
        answer = linprog((c @ w).numpy(), torch.cat(rows).numpy(), torch.cat(limits).numpy(),
                         bounds=ends)  # fmt: skip
        if answer.status == 0:
            best = min(best, float(answer.fun + c @ b))
    return best


def test_no_bound_is_above_the_exact_minimum_and_each_is_at_least_the_one_before() -> None:
    for seed in range(3):
        net, x = perceptron([3, 4, 3, 2], seed), inner(2, 3)
        c = torch.tensor([1.0, -1.0], dtype=torch.float64)
        threat = Linf(0.25)
        exact = torch.tensor(
            [least_by_patterns(net, image.flatten(), c, radius(threat)) for image in x]
        ).double()
        graph, region = graph_of(net, x), Region.around(x, threat)
        last, rows = len(graph.steps) - 1, torch.arange(len(x))
        a = c.repeat(len(x), 1)
        loose = propagate(graph, region)
        tight = crown_intervals(graph, region, loose)
        by_interval = interval_lower_bound(graph, loose, region, last, rows, a)
        mixed, _ = crown_lower_bound(graph, loose, region, last, rows, a)
        crown, _ = crown_lower_bound(graph, tight, region, last, rows, a)
        choice = initial_parameters(graph, tight, rows)
        alpha, _ = optimized_bounds(
            graph, tight, region, rows, a, choice, AlphaCrown(), float("inf")
        )
        for bound in (by_interval, mixed, crown, alpha):
            assert bool((bound <= exact + 1e-9).all())
        assert bool((alpha >= crown).all())
        assert bool((crown >= mixed - 1e-9).all())
        assert bool((exact - alpha <= exact - by_interval).all())


@pytest.mark.parametrize(("name", "threat"), each_beside([L1(0.6), Linf(0.05), L2(0.3)]), ids=str)
def test_every_hidden_value_of_a_float32_run_lies_between_its_bounds(
    name: str, threat: Threat
) -> None:
    net, x = build(name), images(2)
    graph, region = graph_of(net, x), Region.around(x, threat)
    loose = propagate(graph, region)
    tight = crown_intervals(graph, region, loose)
    tried = points(threat, x, 20)
    with torch.no_grad():
        logits = torch.stack([net(point) for point in tried]).double()
        rows, a = every_margin(len(x), 3)
        last = len(graph.steps) - 1
        bound, _ = crown_lower_bound(graph, tight, region, last, rows, a)
        seen = torch.einsum("pno,no->pn", logits[:, rows], a)
        assert bool((seen.amin(0) >= bound).all())
        assert bool(
            (seen.amin(0) >= interval_lower_bound(graph, loose, region, last, rows, a)).all()
        )
    with torch.no_grad():
        best = alpha_intervals(graph, region, tight, AlphaCrown(hidden_steps=3))
    for bounds in (loose, tight, best):
        out = bounds.intervals[-1]
        assert bool((logits >= out.low).all())
        assert bool((logits <= out.high).all())
    for tight_interval, other in zip(tight.intervals, loose.intervals, strict=True):
        assert bool((tight_interval.low >= other.low).all())
        assert bool((tight_interval.high <= other.high).all())
    for bounds in (tight, best):
        _compare_hidden(net, graph, bounds, tried)


def _compare_hidden(net: nn.Module, graph: Graph, bounds: StepBounds, tried: Tensor) -> None:
    """Layers that are modules and run once, seen by hooks."""
    names = [step.name for step in graph.steps]
    checked = 0
    for name, module in net.named_modules():
        if names.count(name) != 1 or not name:
            continue
        seen: list[Tensor] = []
        hook = module.register_forward_hook(
            lambda _m, _i, out, seen=seen: seen.append(out.detach().clone())
        )
        with torch.no_grad():
            for point in tried:
                net(point)
        hook.remove()
        at = bounds.intervals[names.index(name)]
        values = torch.stack(seen).double()
        assert bool((values >= at.low).all()), name
        assert bool((values <= at.high).all()), name
        checked += 1
    assert checked > 0 or not isinstance(net, nn.Sequential)


def test_no_margin_that_is_left_has_no_bound() -> None:
    x = images(2)
    graph = graph_of(build("layer norm"), x)
    region = Region.around(x, Linf(EPS))
    with torch.no_grad():
        bounds = crown_intervals(graph, region, propagate(graph, region))
        rows, a = torch.zeros(0, dtype=torch.long), torch.zeros(0, 3, dtype=torch.float64)
        found, _ = crown_lower_bound(graph, bounds, region, len(graph.steps) - 1, rows, a)
    assert found.shape == (0,)
