"""Poison that a scan plants itself, to learn how its scores show poison in these data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.data.ids import SampleIds

KINDS = ("patch", "blend", "label flip")
"""What is planted."""
SHARE = 0.01
"""Share of the samples of which a copy with each kind of poison is planted."""
FEWEST = 12
"""Copies of a kind at least."""
BLEND = (0.12, 0.25)
"""Weight of the blended pattern, lowest and highest."""
COARSE = 9
"""Side of the grid that a smooth pattern is interpolated from."""
PATCH = 1 / 9
"""Side of a patch over the shorter side of an image."""


@dataclass(frozen=True, eq=False)
class Planted:
    """Data with planted copies behind its own samples.

    Attributes:
        data: The samples, then the copies.
        group: Number of the sample itself, or of the one that a copy was made of, shape (n + m,).
        kind: Index in `KINDS`, -1 for the samples themselves, shape (n + m,).
    """

    data: Dataset
    group: Tensor
    kind: Tensor

    @property
    def own(self) -> int:
        """Number of samples that were not planted."""
        return int((self.kind < 0).sum())


def plant(data: Dataset, seed: int) -> Planted:
    """Add poisoned copies: patches with random pattern, place and target, blended noise, flips.

    Each kind of trigger comes in two variants. A copy is in the group of its original, so that
    no scan compares it with the image that it was made of.

    Args:
        data: Labelled images of at least two classes.
        seed: Of all draws.
    """
    each = min(len(data), max(FEWEST, round(SHARE * len(data))))
    images, labels, rows, kinds = [], [], [], []
    for number, kind in enumerate(KINDS):
        for variant in range(1 if kind == "label flip" else 2):
            key = derive(seed, "planted", kind, variant)
            count = each if kind == "label flip" else -(-each // 2)
            chosen, y = _victims(data, kind, count, key)
            x = data.images(chosen)
            if kind == "patch":
                x = _patched(x, key)
            elif kind == "blend":
                x = _blended(data, x, key, variant)
            images.append(x)
            labels.append(y)
            rows.append(chosen)
            kinds.append(torch.full_like(chosen, number))
    copies = torch.cat(images)
    if data.pixels.dtype == torch.uint8:
        copies = (255 * copies).round().to(torch.uint8)
    own, made = torch.arange(len(data)), torch.cat(rows)
    ids = SampleIds.of(f"planted/{at}" for at in range(len(made)))
    joined = Dataset(
        torch.cat([data.pixels, copies]),
        torch.cat([data.y, *labels]),
        data.classes,
        data.name,
        data.ids + ids,
    )
    return Planted(
        joined,
        torch.cat([own, made]),
        torch.cat([torch.full_like(own, -1), *kinds]),
    )


def _victims(data: Dataset, kind: str, count: int, key: int) -> tuple[Tensor, Tensor]:
    """Samples to copy, and the labels of the copies."""
    order = RandomStreams(derive(key, "rows"), data.ids.keys).order()
    present = data.y.unique()
    if kind == "label flip":
        rows = order[:count]
        draw = RandomStreams(derive(key, "label"), data.ids.keys[rows])
        turn = 1 + draw.choice(max(1, len(present) - 1))
        at = torch.searchsorted(present, data.y[rows])
        return rows, present[(at + turn) % len(present)]
    target = present[int(RandomStreams.of(derive(key, "target"), 1).choice(len(present)))]
    rows = order[data.y[order] != target][:count]
    return rows, torch.full_like(rows, int(target))


def _patched(x: Tensor, key: int) -> Tensor:
    _, channels, height, width = x.shape
    side = max(2, round(PATCH * min(height, width)))
    top = int(RandomStreams.of(derive(key, "top"), 1).choice(height - side + 1))
    left = int(RandomStreams.of(derive(key, "left"), 1).choice(width - side + 1))
    pattern = RandomStreams.of(derive(key, "pattern"), 1).uniform((channels, side, side))[0]
    x[:, :, top : top + side, left : left + side] = (pattern > 0.4).float()
    return x


def _blended(data: Dataset, x: Tensor, key: int, variant: int) -> Tensor:
    """Images with a smooth pattern blended in, or with another image of the data."""
    low, high = BLEND
    weight = float(RandomStreams.of(derive(key, "weight"), 1).uniform((1,), low, high))
    if variant:
        at = RandomStreams.of(derive(key, "image"), 1).choice(len(data))
        pattern = data.images(at)
    else:
        coarse = RandomStreams.of(derive(key, "noise"), 1).uniform((x.shape[1], COARSE, COARSE))
        pattern = F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)
    return (1 - weight) * x + weight * pattern
