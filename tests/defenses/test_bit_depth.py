"""Bit-depth reduction: its levels, its gradient, and its refusals."""

from typing import Any

import pytest
import torch

from tempering.core.backward import true_gradient
from tempering.core.errors import ModelError
from tempering.defenses import BitDepth


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_pixels_become_the_nearest_of_even_levels(bits: int) -> None:
    x = torch.rand(2, 3, 16, 16)
    levels = torch.linspace(0, 1, 2**bits)
    nearest = (x[..., None] - levels).abs().argmin(-1)
    assert torch.allclose(BitDepth(bits)(x), levels[nearest])
    assert torch.allclose(BitDepth(8)(torch.arange(256) / 255), torch.arange(256) / 255)


def test_gradients_pass_straight_through() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(BitDepth(2)(x).sum(), x)
    assert torch.equal(gradient, torch.ones(2, 3))
    with true_gradient():
        (gradient,) = torch.autograd.grad(BitDepth(2)(x).sum(), x)
    assert torch.equal(gradient, torch.zeros(2, 3))


@pytest.mark.parametrize("bits", [0, 9, 2.0, True, float("nan"), "4"])
def test_bits_that_make_no_sense_are_refused(bits: Any) -> None:
    with pytest.raises(ModelError, match=r"bit_depth bits .*: give a whole number from 1 to 8"):
        BitDepth(bits)
