"""Numbers that fall as an attack goes on."""

from __future__ import annotations

import math


def cosine(first: float, last: float, step: int, steps: int) -> float:
    """From `first` at step 0 to `last` at step `steps`, along half a cosine.

    Example:
        >>> [round(cosine(1.0, 0.0, step, 4), 2) for step in range(5)]
        [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
