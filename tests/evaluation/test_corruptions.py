"""Corruptions: closed forms for each, the same for a sample in any batch, within [0, 1]."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from kornia.enhance import JPEGCodecDifferentiable
from scipy import stats
from torch import Tensor

from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.core.random import RandomStreams
from tempering.evaluation import CORRUPTIONS
from tempering.evaluation.corruptions import SEVERITIES

EVERY = list(CORRUPTIONS)


def images(n: int = 7, channels: int = 3, height: int = 32, width: int = 28) -> Tensor:
    """Smooth random images: waves of a few pixels, from about 0.2 to 0.8."""
    streams = RandomStreams.of(5, n)
    rows = torch.arange(height)[:, None] * streams.derive("rows").uniform(
        (channels, 1, 1), 0.2, 0.9
    )
    columns = torch.arange(width) * streams.derive("columns").uniform((channels, 1, 1), 0.2, 0.9)
    return 0.5 + 0.3 * torch.sin(rows + columns)


def streams(n: int, seed: int = 0) -> RandomStreams:
    return RandomStreams.of(seed, n)


def test_these_are_the_corruptions() -> None:
    assert EVERY == [
        "noise",
        "blur",
        "contrast",
        "brightness",
        "rotation",
        "translation",
        "jpeg",
    ]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_images_and_change_more_with_severity(name: str, channels: int) -> None:
    x = images(channels=channels)
    before = x.clone()
    far = []
    for severity in SEVERITIES:
        out = CORRUPTIONS[name](x, severity, streams(7))
        assert (out.shape, out.dtype) == (x.shape, x.dtype)
        assert 0.0 <= float(out.min()) <= float(out.max()) <= 1.0
        far.append(float((out - x).square().mean()))
    assert x.equal(before)
    assert min(far) > 1e-5
    if name not in ("rotation", "translation"):  # waves may come back upon themselves
        assert far == sorted(far)
        assert far[-1] > 1.5 * far[0]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("ends", [0.0, 1.0])
def test_black_and_white_images_stay_within_bounds(name: str, ends: float) -> None:
    x = torch.full((3, 1, 6, 6), ends)
    x[:, :, ::2, ::2] = 1 - ends
    for severity in SEVERITIES:
        out = CORRUPTIONS[name](x, severity, streams(3))
        assert 0.0 <= float(out.min()) <= float(out.max()) <= 1.0


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_is_corrupted_the_same_in_any_batch(name: str, dtype: torch.dtype) -> None:
    x, whole_streams, change = images(29).to(dtype), streams(29), CORRUPTIONS[name]
    whole = change(x, 3, whole_streams)
    assert whole.dtype == dtype
    assert change(x, 3, whole_streams).equal(whole), "the same twice"
    rows = torch.tensor([17, 2, 28, 0, 9])
    close = {"rtol": 0.0, "atol": 1e-6}
    torch.testing.assert_close(change(x[rows], 3, whole_streams[rows]), whole[rows], **close)
    alone = torch.cat([change(x[i : i + 1], 3, whole_streams[i : i + 1]) for i in range(29)])
    torch.testing.assert_close(alone, whole, **close)


@pytest.mark.parametrize("name", ["noise", "rotation", "translation"])
def test_what_is_drawn_differs_by_sample_and_seed(name: str) -> None:
    x = images(1).expand(12, -1, -1, -1)
    out = CORRUPTIONS[name](x, 3, streams(12))
    kinds = {tuple(image.flatten().tolist()) for image in out}
    assert len(kinds) == (2 if name == "rotation" else 12)
    assert not CORRUPTIONS[name](x, 3, streams(12, seed=1)).equal(out)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_deviation(severity: int) -> None:
    noise = CORRUPTIONS["noise"]
    left = noise(torch.full((20, 1, 30, 30), 0.5), severity, streams(20)) - 0.5
    inside = left.abs() < 0.5
    deviation = noise.amount(severity)
    changes = left[inside].double().numpy()
    a = 0.5 / deviation
    assert stats.kstest(changes, stats.truncnorm(-a, a, scale=deviation).cdf).pvalue > 0.01
    assert noise.amount(1) == 0.05


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_spreads_a_point_by_its_deviation(severity: int) -> None:
    x = torch.zeros(1, 1, 61, 71)
    x[:, :, 30, 35] = 1.0
    blur = CORRUPTIONS["blur"]
    out = blur(x, severity, streams(1))[0, 0].double()
    assert float(out.sum()) == pytest.approx(1.0, abs=1e-5)
    sigma = blur.amount(severity) * 61
    row = torch.exp(-((torch.arange(61) - 30.0) ** 2) / (2 * sigma**2)).double()
    assert out.sum(1).numpy() == pytest.approx((row / row.sum()).numpy(), abs=2e-3)
    flat = torch.full((1, 3, 9, 9), 0.3)
    torch.testing.assert_close(blur(flat, severity, streams(1)), flat)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_scales_distances_from_the_mean(severity: int) -> None:
    x, contrast = images(channels=1), CORRUPTIONS["contrast"]
    mean = x.mean((1, 2, 3), keepdim=True)
    wanted = mean + contrast.amount(severity) * (x - mean)
    torch.testing.assert_close(contrast(x, severity, streams(7)), wanted)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_adds(severity: int) -> None:
    x, brightness = images(), CORRUPTIONS["brightness"]
    wanted = (x + brightness.amount(severity)).clamp_max(1.0)
    torch.testing.assert_close(brightness(x, severity, streams(7)), wanted)


def _centre(x: Tensor) -> tuple[Tensor, Tensor]:
    """Where the light of each image is, right and down from the middle, in pixels."""
    light = x.sum(1)
    height, width = light.shape[1:]
    mass = light.sum((1, 2))
    right = light.sum(1) @ (torch.arange(width) - (width - 1) / 2) / mass
    down = light.sum(2) @ (torch.arange(height) - (height - 1) / 2) / mass
    return right, down


@pytest.mark.parametrize("severity", SEVERITIES)
def test_rotation_turns_by_its_angle_to_either_side(severity: int) -> None:
    x = torch.zeros(40, 1, 41, 41)
    x[:, :, 20, 32] = 1.0
    rotation = CORRUPTIONS["rotation"]
    right, down = _centre(rotation(x, severity, streams(40)))
    angles = torch.atan2(down, right).rad2deg()
    wanted = torch.full_like(angles, rotation.amount(severity))
    torch.testing.assert_close(angles.abs(), wanted, atol=0.5, rtol=0)
    assert 8 < int((angles > 0).sum()) < 32


@pytest.mark.parametrize("severity", SEVERITIES)
def test_translation_moves_by_its_share_in_all_directions(severity: int) -> None:
    x = torch.zeros(200, 1, 25, 50)
    x[:, :, 12, 24:26] = 1.0
    translation = CORRUPTIONS["translation"]
    right, down = _centre(translation(x, severity, streams(200)))
    share = torch.hypot(right / 50, down / 25)
    wanted = torch.full_like(share, translation.amount(severity))
    torch.testing.assert_close(share, wanted, atol=1e-3, rtol=0)
    angle = torch.atan2(down / 25, right / 50) / (2 * math.pi) + 0.5
    assert stats.kstest(angle.numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_is_near_to_an_independent_codec(severity: int) -> None:
    x, jpeg = images(4, 3, 32, 48), CORRUPTIONS["jpeg"]
    quality = jpeg.amount(severity)
    other = JPEGCodecDifferentiable()(x, torch.tensor([quality]))
    out = jpeg(x, severity, streams(4))
    error, distance = (out - other).abs().mean(), (out - x).abs().mean()
    assert float(error) < 0.5 * float(distance)


def test_jpeg_takes_any_size_and_keeps_what_has_no_detail() -> None:
    for shape in ((1, 1, 1, 1), (2, 3, 5, 9), (1, 1, 17, 3)):
        flat = torch.full(shape, 128 / 255)
        out = CORRUPTIONS["jpeg"](flat, 5, streams(shape[0]))
        torch.testing.assert_close(out, flat, atol=2 / 255, rtol=0)
    with pytest.raises(DataError, match="jpeg of images with 2 channels: give 1 or 3"):
        CORRUPTIONS["jpeg"](torch.rand(1, 2, 8, 8), 1, streams(1))


@pytest.mark.parametrize("name", EVERY)
def test_no_images_and_tiny_images(name: str) -> None:
    assert CORRUPTIONS[name](torch.rand(0, 1, 8, 8), 1, streams(0)).shape == (0, 1, 8, 8)
    assert CORRUPTIONS[name](torch.rand(2, 3, 2, 2), 5, streams(2)).shape == (2, 3, 2, 2)


def test_bad_calls_are_refused() -> None:
    with pytest.raises(UsageError, match="blur: severity 6: give one of 1 to 5"):
        CORRUPTIONS["blur"](images(), 6, streams(7))
    with pytest.raises(UsageError, match="2 random streams for 7 images: give one each"):
        CORRUPTIONS["noise"](images(), 1, streams(2))
    with pytest.raises(UnknownNameError, match="unknown corruption 'blurr': did you mean blur"):
        CORRUPTIONS["blurr"]


def test_without_kornia_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("filters", "enhance", "geometry"):
        monkeypatch.setitem(sys.modules, f"kornia.{part}", None)
    message = r"'blur' needs the library kornia: pip install \"tempering\[corruptions\]\""
    with pytest.raises(UsageError, match=message):
        CORRUPTIONS["blur"](images(), 1, streams(7))
    for name in ("noise", "jpeg"):
        assert CORRUPTIONS[name](images(), 1, streams(7)).shape == images().shape
