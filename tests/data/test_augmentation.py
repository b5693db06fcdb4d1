from __future__ import annotations

import pytest
import torch
from kornia.geometry.transform import rotate
from pydantic import ValidationError
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams
from tempering.data import Augmentation, Splits, gaussian_noise

EVERYTHING = Augmentation(
    rotation=15,
    scaling=0.1,
    shift=0.1,
    flip=True,
    fill="reflection",
    brightness=0.3,
    contrast=0.3,
    saturation=0.5,
    noise=0.05,
)


def images(n: int = 29, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, 13, 11, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sample_does_not_depend_on_its_batch(channels: int) -> None:
    x, streams = images(channels=channels), RandomStreams.of(seed=3, n=29)
    whole = EVERYTHING(x, streams)
    alone = torch.cat([EVERYTHING(x[i : i + 1], streams[i : i + 1]) for i in range(29)])
    order = torch.randperm(29, generator=torch.Generator().manual_seed(0))
    assert torch.equal(alone, whole)
    assert torch.equal(EVERYTHING(x[order], streams[order]), whole[order])
    assert torch.equal(EVERYTHING(x[4:21], streams[4:21]), whole[4:21])


def test_samples_differ_from_one_another() -> None:
    x = images(1).expand(20, -1, -1, -1)
    out = EVERYTHING(x, RandomStreams.of(seed=0, n=20))
    assert len({image.numpy().tobytes() for image in out}) == 20


def test_images_stay_images(mnist: Splits) -> None:
    for x in (images(), mnist.test.x[:29]):
        before = x.clone()
        out = EVERYTHING(x, RandomStreams.of(seed=1, n=29))
        assert out.shape == x.shape
        assert out.dtype == x.dtype
        assert 0.0 <= float(out.min()) <= float(out.max()) <= 1.0
        assert not torch.equal(out, x)
        assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("augmentation", "channels"),
    [
        (Augmentation(), 1),
        (Augmentation(flip=False), 3),
        (Augmentation(brightness=0.5, contrast=0.5, saturation=0.5), 1),
    ],
)
def test_what_changes_nothing_costs_nothing(augmentation: Augmentation, channels: int) -> None:
    x = images(channels=channels)
    assert augmentation(x, RandomStreams.of(seed=0, n=29)) is x
    assert augmentation.bind(channels) is None
    assert EVERYTHING.bind(channels) is EVERYTHING


def test_an_empty_batch_stays_empty() -> None:
    assert len(EVERYTHING(images(0), RandomStreams.of(seed=0, n=0))) == 0


def test_flips_are_left_to_colour_images_unless_asked_for() -> None:
    grey, colour = images(channels=1), images()
    streams = RandomStreams.of(seed=0, n=29)
    assert Augmentation()(grey, streams) is grey
    for x, augment in ((colour, Augmentation()), (grey, Augmentation(flip=True))):
        out = augment(x, streams)
        same = (out == x).flatten(1).all(1)
        mirrored = (out == x.flip(3)).flatten(1).all(1)
        assert bool((same ^ mirrored).all())
        assert 5 < int(mirrored.sum()) < 24


def test_rotation_agrees_with_kornia() -> None:
    x, streams = images(), RandomStreams.of(seed=2, n=29)
    degrees = streams.derive("rotation").uniform((1, 1), -30, 30)[:, 0, 0]
    out = Augmentation(rotation=30, flip=False)(x, streams)
    assert float(degrees.abs().max()) > 20
    torch.testing.assert_close(out, rotate(x, -degrees), atol=1e-4, rtol=0)


def test_shift_moves_whole_images_by_at_most_its_share() -> None:
    x = torch.zeros(200, 1, 21, 21)
    x[:, :, 10, 10] = 1.0
    out = Augmentation(shift=0.2)(x, RandomStreams.of(seed=0, n=200))
    places = torch.arange(21.0) - 10
    mass = out.sum((1, 2, 3))
    torch.testing.assert_close(mass, torch.ones(200), atol=1e-4, rtol=0)
    for moved in ((out.sum((1, 3)) @ places), (out.sum((1, 2)) @ places)):
        assert float(moved.abs().max()) <= 0.2 * 21 + 1e-3
        assert float(moved.min()) < -3
        assert float(moved.max()) > 3


def test_scaling_changes_size_by_at_most_its_share() -> None:
    x = torch.zeros(100, 1, 41, 41)
    x[:, :, 10:31, 10:31] = 1.0
    area = Augmentation(scaling=0.2)(x, RandomStreams.of(seed=0, n=100)).sum((1, 2, 3)) / 21**2
    side = area.sqrt()
    assert 0.79 < float(side.min()) < 0.85
    assert 1.15 < float(side.max()) < 1.21


def test_what_comes_in_from_outside() -> None:
    x = torch.ones(50, 1, 9, 9)
    streams = RandomStreams.of(seed=0, n=50)
    assert float(Augmentation(shift=0.3)(x, streams).min()) < 0.01
    for fill in ("border", "reflection"):
        out = Augmentation(shift=0.3, fill=fill)(x, streams)
        torch.testing.assert_close(out, x)


def test_colour_operations_leave_their_fixed_points() -> None:
    streams = RandomStreams.of(seed=0, n=10)
    grey = torch.rand(10, 1, 4, 4).expand(10, 3, 4, 4)
    half = torch.full((10, 3, 4, 4), 0.5)
    black = torch.zeros(10, 3, 4, 4)
    for settings, fixed in (
        ({"saturation": 0.9}, grey),
        ({"contrast": 0.9}, half),
        ({"brightness": 0.9}, black),
    ):
        augment = Augmentation(flip=False, **settings)
        torch.testing.assert_close(augment(fixed, streams), fixed)
        changed = augment(torch.rand(10, 3, 4, 4) * 0.2 + 0.2, streams)
        assert len(changed.flatten(1).unique(dim=0)) == 10


def test_switching_one_operation_on_leaves_the_draws_of_others() -> None:
    x, streams = images(), RandomStreams.of(seed=0, n=29)
    flipped = Augmentation()(x, streams)
    bright = Augmentation(brightness=0.2)(x, streams)
    back = bright / bright.flatten(1).mean(1)[:, None, None, None]
    expected = flipped / flipped.flatten(1).mean(1)[:, None, None, None]
    correlation = torch.nn.functional.cosine_similarity(back.flatten(1), expected.flatten(1))
    assert float(correlation.min()) > 0.99


def test_noise_has_the_stated_deviation_and_stays_in_the_box() -> None:
    x = torch.full((50, 1, 28, 28), 0.5)
    out = gaussian_noise(x, 0.1, RandomStreams.of(seed=0, n=50))
    assert float(out.mean()) == pytest.approx(0.5, abs=0.003)
    assert float(out.std()) == pytest.approx(0.1, abs=0.003)
    cut = gaussian_noise(x, 5.0, RandomStreams.of(seed=0, n=50))
    assert (float(cut.min()), float(cut.max())) == (0.0, 1.0)


def test_noise_does_not_depend_on_the_batch() -> None:
    x, streams = images(), RandomStreams.of(seed=9, n=29)
    whole = gaussian_noise(x, 0.3, streams)
    assert torch.equal(gaussian_noise(x[7:9], 0.3, streams[7:9]), whole[7:9])
    assert gaussian_noise(x, 0.0, streams) is x


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_impossible_noise_is_refused(sigma: float) -> None:
    with pytest.raises(UsageError, match="sigma"):
        gaussian_noise(images(), sigma, RandomStreams.of(seed=0, n=29))


@pytest.mark.parametrize(
    "settings",
    [{"rotate": 3}, {"rotation": -1}, {"scaling": 1.0}, {"noise": float("inf")}, {"fill": "red"}],
)
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(settings)


def test_it_is_a_value() -> None:
    assert Augmentation(rotation=3) == Augmentation.model_validate({"rotation": 3})
    with pytest.raises(ValidationError):
        Augmentation().rotation = 5  # type: ignore[misc]


def test_rows_and_columns_are_shifted_independently_by_a_share_of_their_own_length() -> None:
    x = torch.zeros(200, 1, 21, 41)
    x[:, :, 10, 20] = 1.0
    moved = Augmentation(shift=0.2)(x, RandomStreams.of(0, 200))
    down = (moved.sum((1, 3)) * torch.arange(21)).sum(1) / moved.sum((1, 2, 3)) - 10
    right = (moved.sum((1, 2)) * torch.arange(41)).sum(1) / moved.sum((1, 2, 3)) - 20
    for shift, length in ((down, 21), (right, 41)):
        assert 0.9 * 0.2 * length < float(shift.abs().max()) <= 0.2 * length + 1e-3
    correlation = torch.corrcoef(torch.stack([down, right]))[0, 1]
    assert abs(float(correlation)) < 0.3


def test_saturation_keeps_the_grey_value_of_bt_601() -> None:
    x = torch.tensor([0.45, 0.5, 0.55])[torch.tensor([[0, 1, 2], [2, 0, 1], [1, 2, 0]])]
    x = x[:, :, None, None].expand(3, 3, 2, 2).repeat(8, 1, 1, 1)
    changed = Augmentation(saturation=0.9, flip=False)(x, RandomStreams.of(0, 24))
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert torch.allclose((weights * changed).sum(1), (weights * x).sum(1), atol=1e-6)
    assert float((changed - x).abs().amax((1, 2, 3)).min()) > 0


def test_a_shift_alone_keeps_every_value() -> None:
    x = torch.rand(30, 1, 20, 20)
    moved = Augmentation(shift=0.2, fill="reflection")(x, RandomStreams.of(0, 30))
    assert not torch.equal(moved, x)
    for before, after in zip(x, moved, strict=True):
        distances = (before.flatten()[None] - after.flatten()[:, None]).abs().amin(1)
        assert float(distances.max()) < 1e-5
