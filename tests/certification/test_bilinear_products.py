"""Planes around products do not depend on rounding."""

import torch

from tempering.certification.bilinear_products import MatrixPairProduct
from tempering.certification.operations import IntervalTensor
from tempering.certification.precision import Precision
from tempering.core.random import RandomStreams


def test_planes_that_cost_the_same_are_not_chosen_by_rounding() -> None:
    """Where the factors have known signs two planes cost the same, whatever their ends are."""
    streams = RandomStreams.of(2, 40)
    x, width = (streams.derive(name).uniform((3, 4)).double() for name in ("x", "width"))
    y, tall = (streams.derive(name).uniform((4, 5)).double() for name in ("y", "tall"))
    operation = MatrixPairProduct((3, 4), (4, 5), Precision.of(torch.float32, torch.device("cpu")))
    for first in (x + 0.1, -x - width - 0.1):
        for second in (y + 0.1, -y - tall - 0.1):
            low = torch.cat([first.flatten(1), second.flatten(1)], 1)
            high = torch.cat([(first + width).flatten(1), (second + tall).flatten(1)], 1)
            planes = [
                operation.relax(IntervalTensor(low * scale, high * scale))
                for scale in (1.0, 1.1, 1 / 3)
            ]
            for other in planes[1:]:
                assert torch.equal(other.below, planes[0].below)
                assert torch.equal(other.above, planes[0].above)
