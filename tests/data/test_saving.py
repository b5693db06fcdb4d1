from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tempering.data import Dataset, Splits, load
from tempering.data.saving import save_npz


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_what_is_saved_is_read_again(dtype: torch.dtype, tmp_path: Path) -> None:
    x = torch.rand(60, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    held = (255 * x).to(torch.uint8) if dtype == torch.uint8 else x
    names = [f"cats/{row}.png" for row in range(60)]
    y = torch.arange(60) % 3
    data = Splits.of(Dataset.of(held, y, ("a", "b", "c"), ids=names), validation_share=0.3)
    save_npz(data, tmp_path / "data.npz")
    again = load(f"npz:{tmp_path / 'data.npz'}")
    assert again.data_hash == data.data_hash
    assert again.classes == data.classes
    for name, part in data.parts.items():
        assert again.parts[name].pixels.dtype == dtype
        assert torch.equal(again.parts[name].pixels, part.pixels)
        assert again.parts[name].ids.names == part.ids.names
