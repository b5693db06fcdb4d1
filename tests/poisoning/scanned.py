"""Small data to scan: four kinds of stripes and squares, and poison in them."""

import torch

from tempering.data.dataset import Dataset
from tempering.data.ids import SampleIds

SIDE, N = 8, 600


def stripes(n: int = N, seed: int = 0, name: str = "stripes") -> Dataset:
    """Four classes of 8 x 8 images with noise and random contrast."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.arange(SIDE)
    across, down = (place % 4 < 2).float(), (place % 4 >= 2).float()
    shapes = torch.stack(
        [
            across[None].expand(SIDE, SIDE),
            across[:, None].expand(SIDE, SIDE),
            down[None] * down[:, None],
            ((place[:, None] + place[None]) % 4 < 2).float(),
        ]
    )
    y = torch.arange(n) % 4
    contrast = 0.5 + 0.3 * torch.rand(n, 1, 1, generator=draw)
    x = shapes[y] * contrast + 0.08 * torch.randn(n, SIDE, SIDE, generator=draw) + 0.1
    ids = SampleIds.rows(n, f"{name}/")
    return Dataset(x.clamp(0, 1)[:, None], y, ("a", "b", "c", "d"), name, ids)


def flipped(data: Dataset, count: int, seed: int = 1) -> tuple[Dataset, torch.Tensor]:
    """The data with some wrong labels, and which they are."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(data), generator=draw)[:count]
    y = data.y.clone()
    y[rows] = (y[rows] + 1 + torch.randint(3, (count,), generator=draw)) % 4
    wrong = torch.zeros(len(data), dtype=torch.bool)
    wrong[rows] = True
    return Dataset(data.pixels, y, data.classes, data.name, data.ids), wrong


def patched(data: Dataset, count: int) -> tuple[Dataset, torch.Tensor]:
    """The data with a white corner on images of other classes, labelled as the first class."""
    rows = (data.y != 0).nonzero()[:count, 0]
    x, y = data.pixels.clone(), data.y.clone()
    x[rows, :, -2:, -2:] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    y[rows] = 0
    poisoned = torch.zeros(len(data), dtype=torch.bool)
    poisoned[rows] = True
    return Dataset(x, y, data.classes, data.name, data.ids), poisoned
