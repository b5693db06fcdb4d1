"""The smallest step to a hyperplane within pixel bounds, in L-inf, L2 and L1: closed forms."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.threats import Threat


def smallest_step(threat: Threat, x_adv: Tensor, x: Tensor, normal: Tensor, need: Tensor) -> Tensor:
    """The smallest step within the bounds that changes a linear function by a given amount.

    Minimize ||d|| subject to <normal, d> = need and low <= x_adv + d <= high. Pixels move
    in proportion to a speed until they reach a bound (L-inf: all alike; L2: by their
    weight), or one after the other, the largest weight first (L1).

    Args:
        threat: Gives the norm, `linf`, `l2` or `l1`, and the bounds.
        x_adv: Points within the bounds, shape (n, c, h, w).
        x: Images, shape of x_adv.
        normal: Weights, shape of x_adv.
        need: Change of the function, shape (n,); its sign says in which direction.

    Returns:
        The steps, shape of x_adv; the largest possible change where the bounds allow no more.

    Example:
        >>> from tempering.core.threats import L2
        >>> half, ones = torch.full((1, 1, 1, 4), 0.5), torch.ones(1, 1, 1, 4)
        >>> smallest_step(L2(1.0), half, half, ones, torch.tensor([0.4])).flatten().tolist()[:2]
        [0.10000000149011612, 0.10000000149011612]
    """
    weights = normal.flatten(1)
    largest = weights.abs().amax(1, keepdim=True)
    largest = largest.where(largest > 0, torch.ones_like(largest))
    weights = weights / largest * torch.where(need < 0, -1.0, 1.0).to(x_adv.dtype)[:, None]
    need = need.abs()[:, None] / largest
    low, high = threat.bounds(x)
    room = torch.where(weights.reshape(x.shape) > 0, high - x_adv, x_adv - low)
    room = room.flatten(1).clamp_min(0.0)
    size = weights.abs()
    if threat.norm == "l1":
        moved = _in_turn(size, room, need)
    else:
        speed = torch.ones_like(size) if threat.norm == "linf" else size
        moved = _together(size, speed, room, need)
    return (weights.sign() * moved).reshape(x_adv.shape)


def _together(size: Tensor, speed: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Move all pixels at their speeds, each until its room ends, until the need is met.

    The gain is concave and piecewise linear in time, so Newton's method reaches the exact
    time from below, faster than sorting would.
    """
    time = torch.zeros_like(need)
    moved = torch.zeros_like(size)
    accuracy = 4 * torch.finfo(size.dtype).eps
    for _ in range(size.shape[1] + 1):
        rate = (size * speed * (moved < room)).sum(1, keepdim=True)
        short = need - (size * moved).sum(1, keepdim=True)
        active = (short > accuracy * need) & (rate > 0)
        if not bool(active.any()):
            break
        time = torch.where(active, time + short / rate, time)
        moved = torch.minimum(time * speed, room)
    return moved


def _in_turn(size: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Move the pixel of the largest weight as far as possible, then the next."""
    heavy, order = size.sort(dim=1, descending=True, stable=True)
    space = room.gather(1, order)
    gain = heavy * space
    left = (need - (gain.cumsum(1) - gain)).clamp_min(0.0)
    tiny = torch.finfo(size.dtype).tiny
    moved = torch.minimum(left / heavy.clamp_min(tiny), space) * (heavy > 0)
    return torch.zeros_like(size).scatter(1, order, moved)
