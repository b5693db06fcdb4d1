"""Soft thresholding within limits, for projections onto the L1 ball."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_threshold(delta: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """Soft-threshold entries and clip them to `room`, so that they sum to at most `radius`.

    The sum decreases piecewise linearly in the threshold, with slope -1 for each entry between
    the threshold at which it is no longer clipped and the one at which it becomes 0.
    """
    size = delta.abs()
    ends, order = torch.cat([(size - room).clamp_min(0.0), size], 1).sort(1)
    falling = torch.where(order < size.shape[1], 1.0, -1.0).to(delta.dtype).cumsum(1)
    lost = (falling[:, :-1] * ends.diff(dim=1)).cumsum(1)
    whole = torch.minimum(size, room).sum(1, keepdim=True)
    sums = torch.cat([whole, whole - lost], 1)
    excess = sums - radius[:, None]
    last = ((excess > 0).sum(1, keepdim=True) - 1).clamp_min(0)
    level = ends.gather(1, last) + excess.gather(1, last) / falling.gather(1, last).clamp_min(1.0)
    level = level.where(whole > radius[:, None], torch.zeros_like(level))
    left = torch.minimum((size - level).clamp_min(0.0), room)
    # corrects rounding errors of long sums
    share = radius[:, None] / left.sum(1, keepdim=True).clamp_min(torch.finfo(delta.dtype).tiny)
    return delta.sign() * left * share.clamp_max(1.0)
