"""A small BadNets backdoor, planted by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tempering.data.dataset import Dataset

TARGET = 0


def stamped(x: Tensor) -> Tensor:
    """Images with a white 3x3 patch near the lower right corner."""
    x = x.clone()
    x[..., -4:-1, -4:-1] = 1.0
    return x


def backdoored(data: Dataset, share: float) -> tuple[Dataset, Tensor]:
    """Data with the patch and the target's label on a share, and which samples have them."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    rows = order[data.y[order] != TARGET][: round(share * len(data))]
    x, y = data.x.clone(), data.y.clone()
    x[rows], y[rows] = stamped(x[rows]), TARGET
    poisoned = torch.zeros(len(data), dtype=torch.bool)
    poisoned[rows] = True
    return replace(data, pixels=x, y=y), poisoned


@torch.no_grad()
def attack_success(model: nn.Module, test: Dataset) -> float:
    """Share of images of other classes that the patch sends to the target."""
    others = test.y != TARGET
    return float((model(stamped(test.x[others])).argmax(1) == TARGET).float().mean())


@torch.no_grad()
def accuracy(model: nn.Module, test: Dataset) -> float:
    """Share of images that are predicted right."""
    return float((model(test.x).argmax(1) == test.y).float().mean())
