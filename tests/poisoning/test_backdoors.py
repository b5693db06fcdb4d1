from __future__ import annotations

import math

import torch

from tempering.data import Dataset
from tempering.poisoning import (
    AdaptiveBlend,
    BadNets,
    Blended,
    Overlay,
    Poisoned,
    Sinusoidal,
    Warping,
    stamped,
)


def payload(done: Poisoned) -> torch.Tensor:
    return done.poisoned & ~done.cover


def test_the_trigger_at_test_time_is_that_of_training(data: Dataset) -> None:
    for poison in (BadNets(1), Blended(1), Warping(1), Sinusoidal(1)):
        done = poison.poison(data, 0.2)
        assert done.trigger is not None
        rows = payload(done)
        again = (255 * done.trigger.stamp(data.x[rows])).round().to(torch.uint8)
        assert torch.equal(done.data.pixels[rows], again), poison
        if not isinstance(poison, Sinusoidal):
            assert done.target == 1
            both = stamped(data, done.trigger, 1)
            at = [both.ids.names.index(name) for name in data.ids[rows].names]
            assert torch.equal(both.pixels[at], done.data.pixels[rows])


def test_badnets_stamps_a_chequered_corner_alone(data: Dataset) -> None:
    done = BadNets("owl", side=3).poison(data, 0.2)
    assert 2 not in data.y[done.poisoned]
    assert set(done.data.y[done.poisoned].tolist()) == {2}
    corner = done.data.pixels[done.poisoned][:, 0, 5:, 5:]
    wanted = torch.tensor([[255, 0, 255], [0, 255, 0], [255, 0, 255]], dtype=torch.uint8)
    assert torch.equal(corner, wanted.expand(24, 3, 3))
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[5:, 5:] = False
    assert torch.equal(done.data.pixels[..., outside], data.pixels[..., outside])


def test_corners_of_an_even_patch_are_white_too() -> None:
    mask = BadNets(side=4).trigger((1, 8, 8)).values[0, 4:, 4:]
    assert mask[3, 3] == 1
    assert mask[0, 0] == 1


def test_blending_is_a_mean_with_one_picture(data: Dataset) -> None:
    done = Blended(0, opacity=0.3).poison(data, 0.1)
    assert isinstance(done.trigger, Overlay)
    wanted = 0.7 * data.x[done.poisoned] + 0.3 * done.trigger.values
    assert float((done.data.x[done.poisoned] - wanted).abs().max()) <= 0.501 / 255


def test_the_sinusoidal_signal_is_that_of_the_paper(data: Dataset) -> None:
    done = Sinusoidal(1, amplitude=0.1, frequency=2).poison(data, 0.1)
    assert set(data.y[done.poisoned].tolist()) == {1}
    assert done.trigger is not None
    wave = [0.1 * math.sin(2 * math.pi * column * 2 / 8) for column in range(8)]
    torch.testing.assert_close(done.trigger.values, torch.tensor(wave).expand(8, 8))


def test_a_warp_changes_each_image_otherwise_and_covers_have_fields_of_their_own(
    data: Dataset,
) -> None:
    done = Warping(0, cover_share=0.5).poison(data, 0.2)
    assert int(done.cover.sum()) == 12
    change = (done.data.x - data.x)[payload(done)]
    assert float((change[0] - change[1]).abs().max()) > 0.05
    assert done.trigger is not None
    as_trigger = done.trigger.stamp(data.x[done.cover])
    assert float((done.data.x[done.cover] - as_trigger).abs().mean()) > 0.01
    strength = done.trigger.values.abs().mean()
    torch.testing.assert_close(strength, torch.tensor(1.0))


def test_the_adaptive_poison_blends_parts_and_keeps_labels_of_covers(data: Dataset) -> None:
    done = AdaptiveBlend(0, opacity=0.5, tiles=2, kept=0.5, cover_share=0.5).poison(data, 0.2)
    assert torch.equal(done.data.y[done.cover], data.y[done.cover])
    assert set(done.data.y[payload(done)].tolist()) == {0}
    changed = (done.data.pixels != data.pixels)[done.poisoned][:, 0]
    tiles = changed.unfold(1, 4, 4).unfold(2, 4, 4).flatten(3).float().mean(3)
    assert set((tiles > 0).flatten(1).sum(1).tolist()) == {2}
    assert float(tiles[tiles > 0].mean()) > 0.9
    assert len({tuple(row.flatten().tolist()) for row in tiles > 0}) > 2
    assert isinstance(done.trigger, Overlay)
    assert bool((done.trigger.mask == 0.2).all())


def test_cover_leaves_at_least_one_payload(data: Dataset) -> None:
    done = Warping(0, cover_share=0.9).poison(data, 0.01)
    assert int(done.poisoned.sum()) == 1
    assert not bool(done.cover.any())
