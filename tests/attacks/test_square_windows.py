"""Square windows: where they lie, and what is read and written there."""

import pytest
import torch

from tempering.attacks.square_windows import SquareWindows
from tempering.core.random import RandomStreams


@pytest.mark.parametrize("side", [1, 2, 4, 9])
def test_windows_lie_at_every_place_alike(side: int) -> None:
    shape, n = (5, 7), 7000
    windows = SquareWindows.drawn(RandomStreams.of(0, n), shape, side)
    height, width = min(side, 5), min(side, 7)
    assert windows.mask().sum((1, 2, 3)).unique().tolist() == [height * width]
    tops, lefts = windows.rows[:, 0], windows.columns[:, 0]
    count = torch.bincount(tops * 7 + lefts, minlength=35)
    places = (6 - height) * (8 - width)
    assert int((count > 0).sum()) == places
    expected = n / places
    assert float((count[count > 0] - expected).abs().max()) < 5 * expected**0.5 + 1


def test_what_is_written_into_windows_is_read_from_them() -> None:
    windows = SquareWindows.drawn(RandomStreams.of(1, 6), (5, 7), 3)
    x = torch.zeros(6, 2, 5, 7)
    values = torch.rand(6, 2, 3, 3)
    out = windows.put(x, values)
    assert torch.equal(windows.of(out), values)
    for row in range(6):
        top, left = int(windows.rows[row, 0]), int(windows.columns[row, 0])
        assert torch.equal(out[row, :, top : top + 3, left : left + 3], values[row])
        assert float(out[row].sum()) == pytest.approx(float(values[row].sum()), abs=1e-4)
