"""Rules for the number and length of steps."""

from __future__ import annotations

import math

from tempering.core.errors import UsageError
from tempering.core.threats import Threat

REACH = 2.5
"""How many times eps all default steps together could travel (Madry et al., 2018)."""


def default_step(step_size: float | None, threat: Threat, steps: int) -> float:
    """The given step size, or 2.5 eps / steps, never more than the ball is wide."""
    if step_size is not None:
        return step_size
    return min(REACH * threat.eps / steps, 2.0 * threat.eps)


def check_steps(name: str, steps: int, step_size: float | None) -> None:
    """Refuse numbers of steps and step sizes that make no attack.

    Raises:
        UsageError: If steps is no whole number of at least 1, or the step size is not
            finite and positive.
    """
    if not (isinstance(steps, int) and steps >= 1):
        raise UsageError(f"{name}: steps = {steps}: give a whole number of at least 1")
    if step_size is not None and not (math.isfinite(step_size) and step_size > 0):
        raise UsageError(f"{name}: step_size = {step_size}: give a positive number")
