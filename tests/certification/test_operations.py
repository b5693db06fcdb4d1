"""Single operations against what they do at the ends of their intervals."""

import pytest
import torch

from tempering.certification.affine_operations import Sum
from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.operations import IntervalTensor
from tempering.certification.precision import Precision

PRECISION = Precision.of(torch.float64, torch.device("cpu"))
FIRST = IntervalTensor(torch.tensor([[-1.0, 2.0]]).double(), torch.tensor([[0.5, 3.0]]).double())
SECOND = IntervalTensor(torch.tensor([[0.25, -7.0]]).double(), torch.tensor([[4.0, 1.0]]).double())


@pytest.mark.parametrize(
    ("sign", "low", "high"), [(1, [-0.75, -5.0], [4.5, 4.0]), (-1, [-5.0, 1.0], [0.25, 10.0])]
)
def test_sums_and_differences_pair_the_right_ends(
    sign: int, low: list[float], high: list[float]
) -> None:
    operation = Sum(sign, PRECISION)
    out, _ = operation.interval([FIRST, SECOND])
    assert (out.low[0].tolist(), out.high[0].tolist()) == (low, high)
    a = torch.tensor([[2.0, -3.0]]).double()
    given = operation.transpose(a)
    assert [one.tolist() for one in given] == [[[2.0, -3.0]], [[2.0 * sign, -3.0 * sign]]]


@pytest.mark.parametrize("floor", [0.0, 0.1, 0.6])
def test_the_upper_line_of_a_leaky_rectifier_is_the_chord(floor: float) -> None:
    low, high = torch.tensor([[-2.0, -0.5, 1.0, -3.0]]), torch.tensor([[1.0, 3.0, 2.0, -1.0]])
    given = IntervalTensor(low.double(), high.double())
    lines = LeakyRectifier(floor, PRECISION).relax(given)
    for end in given:
        value = torch.where(end > 0, end, floor * end)
        assert torch.allclose(lines.high_slope * end + lines.high_offset, value, atol=1e-12)
        assert bool((lines.low_slope * end <= value + 1e-12).all())
