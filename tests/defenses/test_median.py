"""The median filter against scipy's, and its refusals."""

from typing import Any

import pytest
import torch
from scipy import ndimage

from tempering.core.errors import ModelError
from tempering.defenses import MedianFilter


@pytest.mark.parametrize("window", [2, 3, 4, 5])
def test_it_is_the_median_of_a_window_that_is_reflected_at_borders(window: int) -> None:
    x = torch.rand(2, 3, 6, 9)
    expected = ndimage.median_filter(x.numpy(), (1, 1, window, window), mode="mirror")
    assert torch.equal(MedianFilter(window)(x), torch.from_numpy(expected))


def test_its_gradient_goes_to_the_pixel_that_is_the_median() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3).div(9).requires_grad_()
    MedianFilter()(x)[0, 0, 1, 1].backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("window", [1, 0, -3, 256, 3.0, True, float("nan"), "3"])
def test_a_window_that_is_none_is_refused(window: Any) -> None:
    with pytest.raises(ModelError, match=r"median window .*: give a whole number from 2 to 255"):
        MedianFilter(window)


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ModelError, match=r"window 9 on images of 4 x 8 pixels: .* at least 5 x 5"):
        MedianFilter(9)(torch.rand(1, 1, 4, 8))
    assert MedianFilter(9)(torch.rand(1, 1, 5, 5)).shape == (1, 1, 5, 5)
