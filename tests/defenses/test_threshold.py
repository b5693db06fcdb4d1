"""The hard threshold: its values, its gradient, and the box that it leaves of a threat."""

from typing import Any

import pytest
import torch

from tempering.core.backward import true_gradient
from tempering.core.errors import ModelError, ThreatError
from tempering.core.patches import Patch
from tempering.core.pixel_boxes import pixel_box
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.defenses import MedianFilter, Threshold

X = torch.tensor([[[[0.1, 0.5, 0.50001, 0.9]]]])


def test_pixels_above_the_value_become_one() -> None:
    assert Threshold(0.5)(X).flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    colours = torch.full((1, 2, 1, 1), 0.5)
    assert Threshold([0.4, 0.6])(colours).flatten().tolist() == [1.0, 0.0]
    assert Threshold([0.4, 0.6]).thresholds((2, 1, 1)).shape == (2, 1, 1)
    with pytest.raises(ModelError, match="2 values on images of 1 channels"):
        Threshold([0.4, 0.6])(X)


def test_gradients_pass_straight_through() -> None:
    x = X.clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(Threshold()(x).sum(), x)[0], torch.ones_like(X))
    with true_gradient():
        assert not Threshold()(x).requires_grad


@pytest.mark.parametrize("at", [0, 1.0, -0.2, float("nan"), "0.5", [], [0.5, 2.0]])
def test_values_that_are_no_thresholds_are_refused(at: Any) -> None:
    with pytest.raises(ModelError, match="give a number above 0 and below 1"):
        Threshold(at)


@pytest.mark.parametrize(
    "threat",
    [Linf(0.2), L2(0.4), L1(0.7), L0(2), L0(0), Patch(0.2), Patch(0.2, at=(1, 2))],
    ids=str,
)
def test_all_that_a_threat_allows_lies_in_the_box(threat: Threat) -> None:
    x = RandomStreams.of(0, 3).uniform((1, 5, 5)).float()
    low, high = pixel_box(threat, x)
    after = Threshold().box_after(low, high)
    for seed in range(20):
        z = threat.sample(x, RandomStreams.of(seed, 3))
        assert bool(((z >= low - 1e-6) & (z <= high + 1e-6)).all())
        z = Threshold()(z.clamp(low, high))
        assert bool(((z >= after[0]) & (z <= after[1])).all())
    decided = (after[0] == after[1]).float().mean()
    assert (float(decided) > 0.3) == (threat not in (L2(0.4), L1(0.7), L0(2), Patch(0.2)))


def test_what_has_no_box_is_refused() -> None:
    class Own(Linf):
        """A user's own."""

    with pytest.raises(ThreatError, match="has no box"):
        pixel_box(Own(0.1), X)
    with pytest.raises(ModelError, match="MedianFilter does not declare that it is monotone"):
        MedianFilter().box_after(X, X)
