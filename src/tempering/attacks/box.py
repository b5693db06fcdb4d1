"""The nearest point of the L1 ball and the box together."""

from __future__ import annotations

import torch
from torch import Tensor


def into_l1_and_box(x: Tensor, delta: Tensor, eps: float) -> Tensor:
    """Project x + delta onto the L1 ball around x and [0, 1] at once.

    To project onto the ball first and then to cut to the box wastes budget where the
    box cuts (Croce and Hein, 'Mind the box', 2021, section 3.1). The projection shrinks
    every change by one level and cuts it at the box; the level is found exactly, from
    the sorted levels at which a change starts to count and at which the box holds it.

    Args:
        x: Images in [0, 1], shape (n, c, h, w).
        delta: Changes, shape of x.
        eps: Radius.

    Returns:
        Images in the ball and the box, shape of x.

    Example:
        >>> x = torch.tensor([0.0, 0.9]).reshape(1, 1, 1, 2)
        >>> into_l1_and_box(x, torch.tensor([0.6, 0.9]).reshape(1, 1, 1, 2), 0.5).flatten()
        tensor([0.4000, 1.0000])
    """
    change = delta.flatten(1)
    size = change.abs()
    flat = x.flatten(1)
    room = torch.where(change > 0, 1 - flat, flat).clamp_min(0.0)
    level = _level(size, torch.minimum(room, size), eps)
    kept = (size - level[:, None]).clamp_min(0.0).minimum(room)
    excess = (kept.sum(1, keepdim=True) / eps).clamp_min(1.0)
    kept = kept / excess  # what rounding left over
    return (x + (change.sign() * kept).reshape(x.shape)).clamp(0.0, 1.0)


def _level(size: Tensor, most: Tensor, eps: float) -> Tensor:
    """The level by which sizes must shrink so that they add up to eps; 0 if they fit, shape (n,).

    As the level falls, a change counts from its size on and is held by the box when
    the level has fallen by its room; in between the sum is a line of integer slope.
    """
    levels, order = torch.cat([size, size - most], 1).sort(dim=1, descending=True)
    starts = torch.where(order < size.shape[1], 1, -1)
    slope = starts.cumsum(1).to(size.dtype)
    reach = slope[:, :-1] * (levels[:, :-1] - levels[:, 1:])
    total = torch.cat([torch.zeros_like(size[:, :1]), reach.cumsum(1)], 1)
    piece = ((total <= eps).sum(1, keepdim=True) - 1).clamp_max(slope.shape[1] - 1)
    lack = eps - total.gather(1, piece)
    level = levels.gather(1, piece) - lack / slope.gather(1, piece).clamp_min(1.0)
    fits = most.sum(1, keepdim=True) <= eps
    return level.masked_fill(fits, 0.0).clamp_min(0.0)[:, 0]
