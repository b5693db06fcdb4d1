"""The shortest way to a hyperplane within the box, in L-inf, L2 and L1: closed forms."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.threats import Threat


def shortest_way(threat: Threat, x: Tensor, normal: Tensor, need: Tensor) -> Tensor:
    """The smallest step within the box that changes a linear function by a given amount.

    Minimise ||d|| subject to <normal, d> = need and 0 <= x + d <= 1. Pixels move in
    proportion to a speed until the box holds them (L-inf: all alike; L2: by their weight),
    or one after the other, the heaviest first (L1).

    Args:
        threat: Gives the norm: linf, l2 or l1.
        x: Points in [0, 1], shape (n, c, h, w).
        normal: Weights, shape of x.
        need: Change of the function, shape (n,); its sign says in which direction.

    Returns:
        The steps, shape of x; where the box allows no such change, as far as it goes.

    Example:
        >>> from tempering.core.threats import L2
        >>> half, ones = torch.full((1, 1, 1, 4), 0.5), torch.ones(1, 1, 1, 4)
        >>> shortest_way(L2(1.0), half, ones, torch.tensor([0.4])).flatten().tolist()[:2]
        [0.10000000149011612, 0.10000000149011612]
    """
    weights = normal.flatten(1)
    largest = weights.abs().amax(1, keepdim=True)
    largest = largest.where(largest > 0, torch.ones_like(largest))
    weights = weights / largest * torch.where(need < 0, -1.0, 1.0).to(x.dtype)[:, None]
    need = need.abs()[:, None] / largest
    flat = x.flatten(1)
    room = torch.where(weights > 0, 1 - flat, flat).clamp_min(0.0)
    size = weights.abs()
    if threat.name == "l1":
        moved = _in_turn(size, room, need)
    else:
        speed = torch.ones_like(size) if threat.name == "linf" else size
        moved = _together(size, speed, room, need)
    return (weights.sign() * moved).reshape(x.shape)


def _together(size: Tensor, speed: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """All pixels move at their speed until their room ends: for how long?

    What they gain together is concave and piecewise linear in time, so that Newton's
    method climbs to the answer from the left and ends on it: faster than a sort.
    """
    time = torch.zeros_like(need)
    moved = torch.zeros_like(size)
    accuracy = 4 * torch.finfo(size.dtype).eps
    for _ in range(size.shape[1] + 1):
        rate = (size * speed * (moved < room)).sum(1, keepdim=True)
        short = need - (size * moved).sum(1, keepdim=True)
        going = (short > accuracy * need) & (rate > 0)
        if not bool(going.any()):
            break
        time = torch.where(going, time + short / rate, time)
        moved = torch.minimum(time * speed, room)
    return moved


def _in_turn(size: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """The heaviest pixel moves as far as it can, then the next."""
    heavy, order = size.sort(dim=1, descending=True, stable=True)
    space = room.gather(1, order)
    gain = heavy * space
    left = (need - (gain.cumsum(1) - gain)).clamp_min(0.0)
    tiny = torch.finfo(size.dtype).tiny
    moved = torch.minimum(left / heavy.clamp_min(tiny), space) * (heavy > 0)
    return torch.zeros_like(size).scatter(1, order, moved)
