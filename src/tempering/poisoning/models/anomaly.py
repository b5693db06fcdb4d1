"""How far a trigger's size lies below those of the other classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from tempering.core.errors import UsageError

CONSISTENT = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
FEW = 7
"""Classes below which a median absolute deviation says too little of one of them."""
LEAST_RATIO = 1 / 3
"""With few classes: size over the next smallest one below which a trigger is that of a backdoor."""
DRAWS = 20_000
"""Simulated models behind `chance` and `limit`."""


def anomaly_index(values: Tensor) -> Tensor:
    """Deviations below the median, in median absolute deviations; above it they are negative.

    Wang et al., 2019, section IV-B, one-sided.

    Args:
        values: Shape (..., k), finite.

    Returns:
        Shape (..., k); 0 where all values are equal.

    Example:
        >>> anomaly_index(torch.tensor([1.0, 9.0, 10.0, 11.0, 12.0])).round(decimals=2)[0]
        tensor(6.0700)
    """
    values = values.double()
    median = _median(values)[..., None]
    spread = CONSISTENT * _median((values - median).abs())[..., None]
    index = (median - values) / spread.clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where(values == median, 0.0, index).float()


def stands_apart(sizes: Sequence[float]) -> list[bool]:
    """Which trigger is so much smaller than the next smallest one that few clean models have it.

    With few classes the deviations of the others say too little. The bound on the ratio is not
    derived: it lies between the ratios of small clean networks and of such with a patch.

    Args:
        sizes: Of the triggers, at least 2.

    Example:
        >>> stands_apart([34.3, 56.5, 4.6, 50.9])
        [False, False, True, False]
    """
    smallest, following = sorted(sizes)[:2]
    apart = smallest < LEAST_RATIO * following
    return [apart and size == smallest for size in sizes]


def limit(classes: int, share: float) -> float:
    """The largest index of a class that so many models exceed, if values were normal.

    Args:
        classes: At least 2.
        share: Above 0 and below 1.

    Raises:
        UsageError: If an argument is out of range.

    Example:
        >>> round(limit(10, 0.05), 1)
        3.9
    """
    if not 0 < share < 1:
        raise UsageError(f"share {share}: give one above 0 and below 1")
    return float(_largest(classes).quantile(1 - share))


def chance(index: float, classes: int) -> float:
    """The share of models whose largest index is at least this, if values were normal.

    Example:
        >>> chance(2.0, 10) > 0.3
        True
    """
    return float((_largest(classes) >= index).double().mean())


@lru_cache(maxsize=8)
def _largest(classes: int) -> Tensor:
    """The largest index of each simulated model, shape (DRAWS,)."""
    if classes < 2:
        raise UsageError(f"{classes} class: give at least 2")
    draws = torch.randn(DRAWS, classes, generator=torch.Generator().manual_seed(0))
    return anomaly_index(draws).amax(1)


def _median(values: Tensor) -> Tensor:
    """The median; of an even number of values the mean of the middle two."""
    return values.quantile(0.5, dim=-1)


def indices(sizes: Sequence[float]) -> tuple[list[float], list[float]]:
    """Anomaly indices of the logarithms of sizes, and of the sizes themselves.

    Sizes of masks span orders of magnitude, so the verdict goes by logarithms: an index of sizes
    cannot exceed their median over the deviation, however small a trigger is.

    Args:
        sizes: Of the triggers, above 0.
    """
    held = torch.tensor(list(sizes), dtype=torch.float64).clamp_min(1e-6)
    return anomaly_index(held.log()).tolist(), anomaly_index(held).tolist()
