"""JPEG: Pillow's codec forward, torch's steps backward, and refusals."""

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.defenses import Jpeg
from tempering.defenses.differentiable_jpeg import differentiable_jpeg


def smooth(channels: int, side: tuple[int, int]) -> Tensor:
    coarse = torch.rand(3, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, side, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_codec_of_pillow(channels: int) -> None:
    x = smooth(channels, (18, 21))
    found = Jpeg(30)(x)
    for image, out in zip(x, found, strict=True):
        pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=30)
        expected = np.asarray(Image.open(file), dtype=np.float32).reshape(pixels.shape) / 255
        assert np.array_equal(out.permute(1, 2, 0).numpy(), expected)
    assert not torch.allclose(found, x, atol=0.01)


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_steps_in_torch_give_what_the_codec_gives(channels: int, quality: int) -> None:
    x = smooth(channels, (30, 37))
    found = differentiable_jpeg(x, quality, torch.round).clamp(0, 1)
    away = (found - Jpeg(quality)(x)).abs() * 255
    assert away.mean() < (1.0 if channels == 1 else 2.0)
    assert away.mean() < 0.5 * (Jpeg(quality)(x) - x).abs().mean() * 255 + 0.5


def test_attacks_see_the_gradient_of_the_steps_in_torch() -> None:
    x = smooth(3, (16, 16)).requires_grad_()
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (declared,) = torch.autograd.grad((Jpeg(20)(x) * weights).sum(), x)
    (steps,) = torch.autograd.grad((differentiable_jpeg(x, 20) * weights).sum(), x)
    assert torch.equal(declared, steps)
    assert steps.abs().mean() > 0.01


def test_no_image_is_no_error() -> None:
    assert Jpeg()(torch.rand(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("quality", [0, 96, 50.0, True, float("nan"), "high"])
def test_a_quality_that_makes_no_sense_is_refused(quality: Any) -> None:
    with pytest.raises(ModelError, match=r"jpeg quality .*: give a whole number from 1 to 95"):
        Jpeg(quality)


@pytest.mark.parametrize("channels", [2, 4])
def test_images_that_are_neither_grey_nor_rgb_are_refused(channels: int) -> None:
    with pytest.raises(ModelError, match=f"jpeg on images of {channels} channels: .* 1 or 3"):
        Jpeg()(torch.rand(1, channels, 8, 8))


def test_pixels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="jpeg on images with values that are not finite"):
        Jpeg()(torch.full((1, 1, 8, 8), float("nan")))
