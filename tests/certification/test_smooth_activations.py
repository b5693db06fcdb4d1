"""Lines around activations: above and below on a dense grid, and tight."""

import math

import pytest
import torch

from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.operations import IntervalTensor
from tempering.certification.precision import Precision
from tempering.certification.smooth_activations import (
    GELU,
    Clamp,
    Sigmoid,
    SiLU,
    SmoothActivation,
    Softplus,
    Tanh,
)

EXACT = Precision.of(torch.float64, torch.device("cpu"))
CURVES = [
    Sigmoid(EXACT),
    Tanh(EXACT),
    Softplus(EXACT),
    Softplus(EXACT, 3.0),
    Clamp(EXACT, -0.5, 0.8),
    Clamp(EXACT, least=0.1),
    Clamp(EXACT, most=0.1),
    GELU(EXACT),
    SiLU(EXACT),
    LeakyRectifier(0.0, EXACT),
    LeakyRectifier(0.3, EXACT),
]


def intervals() -> IntervalTensor:
    ends = [-40.0, -8.0, -3.0, -1.3, -0.75, -0.4, -1e-3, 0.0, 1e-9, 0.3, 0.9, 2.0, 5.0, 30.0]
    pairs = [(low, high) for low in ends for high in ends if low <= high]
    low, high = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return IntervalTensor(low[None], high[None])


def grid(given: IntervalTensor) -> torch.Tensor:
    share = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None]
    return given.low + share * (given.high - given.low)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: type(curve).__name__)
def test_lines_lie_on_their_side_everywhere(curve: SmoothActivation | LeakyRectifier) -> None:
    given = intervals()
    z = grid(given)
    value = curve.interval([IntervalTensor(z, z)])[0].low
    lines = curve.relax(given)
    low = lines.low_slope * z + (0.0 if lines.low_offset is None else lines.low_offset)
    high = lines.high_slope * z + lines.high_offset
    error = curve.interval([given])[1]
    assert bool((low <= value + error).all())
    assert bool((high >= value - error).all())


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: type(curve).__name__)
def test_intervals_hold_all_values(curve: SmoothActivation | LeakyRectifier) -> None:
    given = intervals()
    out, error = curve.interval([given])
    # a dip deeper than its formula by rounding alone
    z = grid(given)
    value = curve.interval([IntervalTensor(z, z)])[0].high
    assert bool((value >= out.low - error).all())
    assert bool((value <= out.high + error).all())


def best_area(curve: SmoothActivation, low: float, high: float, below: bool) -> float:
    """How far the best line stays from the curve at the middle, by trying slopes."""
    z = torch.linspace(low, high, 2001, dtype=torch.float64)
    middle = (low + high) / 2
    at = float(curve.value(torch.tensor(middle, dtype=torch.float64)))
    slope = torch.linspace(*curve.slopes, 401, dtype=torch.float64)[:, None]
    rest = curve.value(z) - slope * z
    end = rest.amin(1) if below else rest.amax(1)
    return float((at - (slope[:, 0] * middle + end)).abs().min())


@pytest.mark.parametrize(
    "curve",
    [curve for curve in CURVES if isinstance(curve, SmoothActivation)],
    ids=lambda curve: type(curve).__name__,
)
@pytest.mark.parametrize(("low", "high"), [(-3.0, 2.0), (-0.5, 4.0), (0.2, 1.7), (-2.5, -0.3)])
def test_no_line_is_nearer_at_the_middle(curve: SmoothActivation, low: float, high: float) -> None:
    given = IntervalTensor(torch.tensor([[low]]).double(), torch.tensor([[high]]).double())
    lines = curve.relax(given)
    assert lines.low_offset is not None
    middle = (low + high) / 2
    at = float(curve.value(torch.tensor(middle, dtype=torch.float64)))
    spare = 0.006 if isinstance(curve, GELU | SiLU) else 1e-3
    below = at - float(lines.low_slope * middle + lines.low_offset)
    above = float(lines.high_slope * middle + lines.high_offset) - at
    assert below <= best_area(curve, low, high, True) + spare
    assert above <= best_area(curve, low, high, False) + spare


def test_the_bend_is_the_largest_second_derivative() -> None:
    z = torch.linspace(-9, 9, 180001, dtype=torch.float64, requires_grad=True)
    for curve in (GELU(EXACT), SiLU(EXACT)):
        (slope,) = torch.autograd.grad(curve.value(z).sum(), z, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), z)
        assert curve.bend * 0.99 < float(bend.detach().abs().max()) <= curve.bend
        least = z.detach()[curve.value(z).argmin()]
        assert math.isclose(float(least), curve.lowest, abs_tol=1e-4)
        assert curve.slopes[0] <= float(slope.detach().min())
        assert float(slope.detach().max()) <= curve.slopes[1]
