"""Confidence intervals of proportions."""

from __future__ import annotations

import math

Z95 = 1.959963984540054


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson, 1927).

    Args:
        hits: Successes, 0 to n.
        n: Trials; 0 trials give [0, 1].
        z: Quantile of the normal distribution; 1.96 gives 95 %.

    Returns:
        Lower and upper bound, fractions.

    Example:
        >>> [round(bound, 3) for bound in wilson(90, 100)]
        [0.826, 0.945]
    """
    if not 0 <= hits <= n:
        raise ValueError(f"hits {hits} of n {n}: give 0 <= hits <= n")
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == n else centre + half
    return max(0.0, low), min(1.0, high)
