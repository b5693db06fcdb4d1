from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from tempering.data import Dataset, contact_sheet


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_sheet_can_be_drawn_of_any_images(channels: int) -> None:
    names = [f"a rather long name of a class {number} \u7b2c" for number in range(25)]
    data = Dataset.of(torch.rand(50, channels, 6, 70), torch.arange(50) % 25, names)
    with Image.open(io.BytesIO(contact_sheet(data, per_class=2))) as picture:
        width, height = picture.size
    zoom = 48 // 6
    assert width > 2 * 70 * zoom
    assert height == 4 + 20 * (6 * zoom + 4)
