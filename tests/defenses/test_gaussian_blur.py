"""The Gaussian blur against scipy's, its certificates, and its refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from tempering.certification import certify
from tempering.core.errors import ModelError
from tempering.core.threats import Linf
from tempering.defenses import GaussianBlur, Pipeline


def test_away_from_borders_it_is_a_convolution_with_a_gaussian() -> None:
    x = torch.rand(2, 3, 20, 24, dtype=torch.float64)
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, 1.0, 1.0), truncate=3.0)
    found = GaussianBlur(1.0)(x)[..., 3:-3, 3:-3]
    assert np.allclose(found.numpy(), expected[..., 3:-3, 3:-3], atol=1e-6)


def test_at_borders_the_weights_add_up_to_one() -> None:
    even = torch.full((1, 2, 3, 5), 0.7)
    assert torch.allclose(GaussianBlur(2.5)(even), even)


def test_certificates_bound_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
        x = torch.rand(20, 2, 8, 8)
    model = Pipeline(net, [GaussianBlur(0.7)], classes=3).eval()
    y = model(x).argmax(1)
    found = certify(model, x, y, Linf(0.005))
    assert found.unsupported is None
    matrix = torch.autograd.functional.jacobian(lambda one: model(one[None])[0], x[0])
    logits = model(x)
    others = torch.arange(3) != y[:, None]
    slopes = (matrix[y][:, None] - matrix[None]).flatten(2).abs().mul(0.005).sum(2).reshape(20, 3)
    robust = (logits.gather(1, y[:, None]) - logits > slopes)[others].reshape(20, 2).all(1)
    assert 0 < int(found.certified.sum()) <= int(robust.sum())


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), 21, "1", True])
def test_a_width_that_makes_no_sense_is_refused(sigma: Any) -> None:
    with pytest.raises(ModelError, match=r"sigma .*: give a number above 0 and at most 20"):
        GaussianBlur(sigma)
