from __future__ import annotations

import pytest
import torch

from tempering.core.errors import DataError
from tempering.poisoning import Added, Overlay, Warp


def test_an_overlay_replaces_where_its_mask_is_one() -> None:
    mask = torch.zeros(4, 4)
    mask[0, 0], mask[1, 1] = 1.0, 0.5
    x = Overlay(torch.ones(3, 4, 4), mask).stamp(torch.full((2, 3, 4, 4), 0.2))
    torch.testing.assert_close(x[:, :, 0, 0], torch.ones(2, 3))
    torch.testing.assert_close(x[:, :, 1, 1], torch.full((2, 3), 0.6))
    torch.testing.assert_close(x[:, :, 2, 2], torch.full((2, 3), 0.2))


def test_a_signal_is_clipped() -> None:
    x = Added(torch.tensor([[0.5, -0.5]])).stamp(torch.full((1, 3, 1, 2), 0.7))
    torch.testing.assert_close(x, torch.tensor([1.0, 0.2]).expand(1, 3, 1, 2))


def test_a_warp_takes_pixels_from_where_its_field_points() -> None:
    x = torch.rand(2, 3, 5, 6)
    field = torch.zeros(5, 6, 2)
    torch.testing.assert_close(Warp(field).stamp(x), x, atol=1e-6, rtol=0)
    field[..., 0] = 1.0  # one column to the right
    moved = Warp(field).stamp(x)
    torch.testing.assert_close(moved[..., :-1], x[..., 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., -1], x[..., -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        (Overlay(torch.ones(1, 4, 4), torch.ones(4, 4)), r"size \(1, 4, 4\) for images of shape"),
        (Added(torch.ones(4, 4)), r"give images of shape \(n, c, 4, 4\)"),
    ],
)
def test_images_of_another_size_are_refused(trigger: Overlay, message: str) -> None:
    with pytest.raises(DataError, match=message):
        trigger.stamp(torch.rand(2, 1, 5, 5))
