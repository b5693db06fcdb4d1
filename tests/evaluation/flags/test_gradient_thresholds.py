"""Zero gradients and unstable predictions, just above and just below their thresholds."""

import pytest
import torch
from torch import Tensor, nn

from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.evaluation.flags import ExaminedSamples
from tempering.evaluation.flags.gradient_quality import check_stability, check_zero_gradients
from tests.evaluation.flags.made import result


@pytest.mark.parametrize(("n", "flagged"), [(100, True), (101, False)])
def test_one_robust_sample_of_a_hundred_without_a_gradient_is_enough(n: int, flagged: bool) -> None:
    zero = torch.zeros(n).bool()
    zero[3] = True
    flag = check_zero_gradients(zero, result("1" * n).per_sample)
    assert (flag is not None) == flagged


class Wavering(nn.Module):
    """A margin of 1 at mid grey, that changes with the mean of the pixels."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        change = self.factor * (x - 0.5).flatten(1).mean(1)
        return torch.stack([1 + change, torch.zeros_like(change)], 1)


def examined(factor: float) -> ExaminedSamples:
    x, streams = torch.full((10, 1, 2, 2), 0.5).double(), RandomStreams.of(1, 10)
    return ExaminedSamples(Wavering(factor), x, torch.zeros(10).long(), Linf(0.1), streams)


@pytest.mark.parametrize(("share", "flagged"), [(0.8, False), (1.25, True)])
def test_a_margin_that_changes_by_a_tenth_is_unstable(share: float, flagged: bool) -> None:
    part = examined(1.0)
    moved = [part.nearby(point, Linf(4 / 255)) - 0.5 for point in range(20)]
    mean = torch.stack([one.flatten(1).mean(1).abs() for one in moved]).mean()
    assert (check_stability(examined(share * 0.1 / float(mean))) is not None) == flagged
