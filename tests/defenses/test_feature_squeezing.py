"""Feature squeezing against SciPy, and its two gradients."""

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from torch import nn

from tempering.core.backward import true_gradient
from tempering.core.errors import ModelError
from tempering.defenses import BitDepth, FeatureSqueezing, MedianFilter
from tests.defenses.detectors import digits, network


@pytest.mark.parametrize(("bits", "window"), [(1, None), (4, None), (None, 2), (None, 3), (2, 2)])
def test_the_score_is_the_largest_distance(bits: int | None, window: int | None) -> None:
    x, net = digits().test.x, network()
    squeezed = []
    if bits is not None:
        squeezed.append(torch.from_numpy(np.rint(x.numpy() * (2**bits - 1)) / (2**bits - 1)))
    if window is not None:
        size = (1, 1, window, window)
        squeezed.append(torch.from_numpy(median_filter(x.numpy(), size, mode="mirror")))
    first = net(x).softmax(1)
    parts = [(first - net(image.float()).softmax(1)).abs().sum(1) for image in squeezed]
    expected = torch.stack(parts).amax(0)
    detector = FeatureSqueezing(net, bits, window)
    assert torch.allclose(detector(x), expected, atol=1e-6)
    assert torch.allclose(detector.approximation(x), expected, atol=1e-6)


def test_squeezers_are_the_transforms_of_these_names() -> None:
    detector = FeatureSqueezing(network(), 3, 2)
    assert [type(part) for part in detector.squeezers] == [BitDepth, MedianFilter]


def test_gradients_pass_straight_through_the_bit_depth() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    detector = FeatureSqueezing(net, bits=1, window=None)
    x = torch.tensor([[[[0.1, 0.4], [0.6, 0.8]]]])

    def slope() -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(detector(leaf).sum(), leaf)[0]

    def at(image: torch.Tensor) -> torch.Tensor:
        """Gradient of the probability of class 0."""
        leaf = image.clone().requires_grad_()
        return torch.autograd.grad(net(leaf).softmax(1)[:, 0].sum(), leaf)[0]

    sign = torch.sign(net(x).softmax(1) - net(x.round()).softmax(1))[0, 0].detach()
    with true_gradient():
        assert torch.allclose(slope(), 2 * sign * at(x))
    assert torch.allclose(slope(), 2 * sign * (at(x) - at(x.round())), atol=1e-6)


def test_squeezers_that_are_none_are_refused() -> None:
    for options, message in (
        ({"bits": None, "window": None}, "without a squeezer"),
        ({"bits": 9}, "bits 9: give a whole number from 1 to 8"),
        ({"window": 1}, "window 1: give a whole number from 2"),
    ):
        with pytest.raises(ModelError, match=message):
            FeatureSqueezing(network(), **options)  # type: ignore[arg-type]
