"""Cover samples: they carry a trigger, or something like it, and their right label."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.poisoning.poisons.task import Task


def cover_of(task: Task, rows: Tensor, share: float) -> Tensor:
    """Draw which of the changed samples are cover, shape (k,), bool; at least one is not.

    Args:
        task: The task.
        rows: The changed samples, shape (k,), int64.
        share: Of cover samples among them.

    Raises:
        UsageError: If the share is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise UsageError(f"cover_share {share}: give one of at least 0 and below 1, such as 0.5")
    count = min(round(share * len(rows)), len(rows) - 1)
    cover = torch.zeros(len(rows), dtype=torch.bool)
    cover[task.streams[rows].derive("cover").order()[:count]] = True
    return cover
