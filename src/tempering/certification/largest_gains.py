"""How much a weighted sum of moves can gain: in closed form, or by one multiplier of the dual.

Each function takes weights and rooms of at least 0, one a pixel along the last dimension, and
bounds the largest sum of weight times move from above, the moves lying between 0 and the room.
A bound by duality holds for every multiplier, so it is sound however the multiplier is rounded;
it is exact where the multiplier is the best. Gradients reach the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 25
"""Most iterations for the Euclidean multiplier; most rows take 2 to 6."""
_SETTLED = 1e-6
"""Relative change of the multiplier at which it counts as found; the bound then lacks 1e-12."""
_TINY = 1e-150


def box_gain(weight: Tensor, room: Tensor) -> Tensor:
    """Every move may be as long as its room; exact."""
    return (weight * room).sum(-1)


def euclidean_gain(weight: Tensor, room: Tensor, radius: float) -> Tensor:
    """The Euclidean length of all moves is at most the radius; exact.

    For any m > 0 the gain is at most m radius^2 plus, summed over pixels, the largest
    w d - m d^2 with d in its room. The best m is the one at which these d have the length of
    the radius.

    Args:
        weight: Shape (..., pixels).
        room: Broadcastable to it.
        radius: At least 0.

    Returns:
        Bounds, shape (...).
    """
    m = _euclidean_multiplier(weight.detach(), room, radius)[..., None]
    move = torch.minimum(weight.detach() / (2 * m), room)
    return (move * (weight - m * move)).sum(-1) + m[..., 0] * radius**2


def euclidean_moves(weight: Tensor, room: Tensor, radius: float) -> Tensor:
    """The moves that gain most, shape of `weight`, but for rounding."""
    m = _euclidean_multiplier(weight, room, radius)[..., None]
    return torch.minimum(weight / (2 * m), room)


def _euclidean_multiplier(weight: Tensor, room: Tensor, radius: float) -> Tensor:
    """Newton's method for the length of the moves; stops when no row changes any more.

    Pixels that the box cuts leave more of the radius to the others, so the multiplier falls
    monotonically to the best one.
    """
    squares = weight.square()
    rooms = (room * (weight > 0)).square()
    total, all_rooms = squares.sum(-1), rooms.sum(-1)
    # where all moves together fit into the radius, nothing is to be shared
    tight = all_rooms > radius**2
    m = torch.where(tight, total.sqrt() / (2 * radius) if radius else total + 1.0, 0.0)
    m = m.clamp_min(_TINY)
    for _ in range(_ROUNDS if radius else 0):
        cut = (squares > (2 * m[..., None]).square() * rooms).to(weight)
        left = radius**2 - (cut * rooms).sum(-1)
        free = total - (cut * squares).sum(-1)
        known = tight & (left > 0) & (free > 0)
        best = torch.where(known, (free / (4 * left)).sqrt(), m)
        best = torch.minimum(best, m).clamp_min(_TINY)
        settled = bool((best >= m * (1 - _SETTLED)).all())
        m = best
        if settled:
            break
    return m


def budget_gain(gain: Tensor, cost: Tensor, budget: float) -> Tensor:
    """Whole moves have a gain and a cost, parts of them their share; costs add up to a budget.

    That is the fractional knapsack: exact, where parts of moves are possible, and an upper bound
    where they are not, which is off by at most one move.

    Args:
        gain: Of whole moves, shape (..., pixels).
        cost: Of whole moves, at least 0, broadcastable to it.
        budget: At least 0.

    Returns:
        Bounds, shape (...).
    """
    price = _price(gain, cost, budget)
    return (gain - price[..., None] * cost).clamp_min(0.0).sum(-1) + price * budget


def budget_shares(gain: Tensor, cost: Tensor, budget: float) -> Tensor:
    """The share of each move that gains most, in [0, 1], shape of `gain`."""
    cost = cost.expand_as(gain)
    order = _ratio(gain, cost).argsort(-1, descending=True)
    ordered = cost.gather(-1, order)
    left = budget - (ordered.cumsum(-1) - ordered)
    share = torch.where(ordered > 0, left / ordered.clamp_min(_TINY), left.sign()).clamp(0.0, 1.0)
    return torch.zeros_like(gain).scatter(-1, order, share)


def _ratio(gain: Tensor, cost: Tensor) -> Tensor:
    return gain / cost.clamp_min(_TINY)


def _price(gain: Tensor, cost: Tensor, budget: float) -> Tensor:
    """The gain for its cost of the last move that the budget reaches, best ones first."""
    ratio, order = _ratio(gain, cost).sort(-1, descending=True)
    over = cost.expand_as(gain).gather(-1, order).cumsum(-1) >= budget
    at = over.to(torch.int8).argmax(-1, keepdim=True)
    price = ratio.gather(-1, at)[..., 0]
    price = torch.where(over.any(-1), price, torch.zeros_like(price))
    # an infinite price belongs to a move without cost, of which the budget buys any number
    return torch.where(price < 1e100, price, torch.zeros_like(price))


def count_gain(gain: Tensor, count: int) -> Tensor:
    """At most so many moves are made; exact.

    Args:
        gain: Of whole moves, shape (..., pixels).
        count: At least 0.

    Returns:
        The sum of the largest gains, shape (...).
    """
    return gain.topk(min(count, gain.shape[-1]), sorted=False).values.sum(-1)


def count_shares(gain: Tensor, count: int) -> Tensor:
    """1 for the moves that gain most, 0 for others, shape of `gain`."""
    best = gain.topk(min(count, gain.shape[-1]), sorted=False).indices
    return torch.zeros_like(gain).scatter(-1, best, 1.0) * (gain > 0)
