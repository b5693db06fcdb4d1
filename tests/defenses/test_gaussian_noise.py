"""Gaussian noise: its size, its range, its seed, and its refusals."""

from typing import Any

import pytest
import torch

from tempering.core.errors import ModelError
from tempering.defenses import GaussianNoise


def test_noise_has_the_given_deviation_and_leaves_no_image_range() -> None:
    x = torch.full((4, 1, 50, 50), 0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = GaussianNoise(0.1)(x)
        torch.manual_seed(0)
        assert torch.equal(GaussianNoise(0.1)(x), out)
        wild = GaussianNoise(2.0)(x)
    assert float((out - x).std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float((out - x).mean())) < 0.005
    assert (float(wild.min()), float(wild.max())) == (0.0, 1.0)


@pytest.mark.parametrize("sigma", [0.0, -0.1, float("nan"), float("inf"), None])
def test_a_deviation_that_makes_no_sense_is_refused(sigma: Any) -> None:
    with pytest.raises(ModelError, match=r"gaussian_noise sigma .*: give a number above 0"):
        GaussianNoise(sigma)
