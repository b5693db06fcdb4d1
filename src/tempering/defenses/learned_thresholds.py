"""Thresholds that leave the fewest pixels of training images undecided."""

from __future__ import annotations

import torch
from torch import Tensor

_GRID = 200
"""Parts of [0, 1] between which thresholds are chosen."""
_LEAST_SHARE = 0.05
"""Share of the pixels on each side of a threshold, before the next one: an image must stay."""
_HALVINGS = 8
"""How often that share is halved where the images allow no such thresholds."""


def stable_thresholds(x: Tensor, low: Tensor, high: Tensor, count: int) -> list[float]:
    """The thresholds that the fewest pixels can be carried across.

    A threshold t leaves a pixel undecided if low <= t < high. The sum over all thresholds is
    minimized by dynamic programming, over a grid of 1/200 and with at least 5 % of the pixels
    between two thresholds, below the first one and above the last; less where the images have no
    such thresholds. Of equal ones those nearest to 1/2 are taken.

    Args:
        x: Pixels, any shape.
        low: Least values that a threat leaves them, shape of x.
        high: Largest values.
        count: How many thresholds, from 1 to 199.

    Returns:
        Increasing thresholds, above 0 and below 1.

    Example:
        >>> x = torch.tensor([0.0, 0.1, 0.6, 1.0])
        >>> stable_thresholds(x, x - 0.2, x + 0.2, 1)
        [0.4]
    """
    grid = torch.arange(1, _GRID, dtype=torch.float64) / _GRID
    undecided = _at_most(low, grid) - _at_most(high, grid)
    below = torch.cat([torch.zeros(1), _at_most(x, grid), torch.ones(1)])
    cost = torch.cat([torch.zeros(1), undecided + 1e-9 * (grid - 0.5).abs(), torch.zeros(1)])
    for halving in range(_HALVINGS + 1):
        least = _LEAST_SHARE / 2**halving if halving < _HALVINGS else 0.0
        chosen = _cheapest(cost, below, count, least)
        if chosen is not None:
            break
    assert chosen is not None
    return [number / _GRID for number in chosen]


def _at_most(values: Tensor, grid: Tensor) -> Tensor:
    """Share of values that are at most each number of a grid."""
    ordered = values.flatten().double().cpu().sort().values
    return torch.searchsorted(ordered, grid, right=True) / max(1, len(ordered))


def _cheapest(cost: Tensor, below: Tensor, count: int, least: float) -> list[int] | None:
    """Places of the least total cost with a share of pixels between them; None if there are none.

    Args:
        cost: Of a threshold at each place, shape (places,), float64; the two ends are no places.
        below: Share of the pixels at or below each place, shape of cost.
        count: Thresholds.
        least: Share of the pixels from one threshold to the next.
    """
    places = torch.arange(len(cost))
    later = places[:, None] < places[None]
    allowed = later & (below[None] - below[:, None] >= least)
    total = torch.full_like(cost, torch.inf)
    total[0] = 0.0
    before: list[Tensor] = []
    for _ in range(count):
        sums = total[:, None].masked_fill(~allowed, torch.inf)
        best = sums.min(0)
        total = best.values + cost
        total[-1] = torch.inf
        before.append(best.indices)
    last = total.masked_fill(~allowed[:, -1], torch.inf)
    if not bool(last.isfinite().any()):
        return None
    chosen = [int(last.argmin())]
    for came in reversed(before[1:]):
        chosen.append(int(came[chosen[-1]]))
    return chosen[::-1]
