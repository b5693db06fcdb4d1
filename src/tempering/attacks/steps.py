"""Number and length of gradient steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.threats import L1, Threat

REACH = 2.5
"""Sum of all default step sizes, in eps (Madry et al., 2018)."""


def default_step(step_size: float | None, threat: Threat, steps: int) -> float:
    """The given step size, or 2.5 eps / steps, at most the ball's diameter."""
    if step_size is not None:
        return step_size
    return min(REACH * threat.eps / steps, 2.0 * threat.eps)


def steepest(threat: Threat, x_adv: Tensor, x: Tensor, gradient: Tensor, length: float) -> Tensor:
    """The step of a length, in the threat's norm, that increases a linear function most.

    In L1 the pixel of the largest gradient moves as far as the threat's bounds allow, then
    the next one, and so on: a step on a pixel that cannot move would be wasted.

    Args:
        threat: Gives norm and bounds.
        x_adv: Current points, shape (n, c, h, w).
        x: Images, shape of x_adv.
        gradient: Shape of x_adv.
        length: In the threat's norm.

    Returns:
        The step, shape of x_adv.
    """
    if not isinstance(threat, L1):
        return length * threat.ascent(gradient)
    flat = gradient.flatten(1)
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    low, high = threat.bounds(x)
    room = torch.where(gradient > 0, high - x_adv, x_adv - low)
    room = room.flatten(1).clamp_min(0.0).gather(1, order)
    before = room.cumsum(1) - room
    taken = torch.minimum(room, (length - before).clamp_min(0.0))
    step = torch.zeros_like(flat).scatter(1, order, taken)
    return (step * flat.sign()).reshape(gradient.shape)


def check_steps(name: str, steps: int, step_size: float | None) -> None:
    """Refuse an invalid number of steps or step size.

    Raises:
        UsageError: If steps is no whole number of at least 1, or the step size is not
            finite and positive.
    """
    check_count(name, "steps", steps)
    if step_size is not None:
        check_positive(name, "step_size", step_size)


def check_count(name: str, field: str, value: int) -> None:
    """Refuse anything but a whole number of at least 1.

    Raises:
        UsageError: Naming attack, field and value.
    """
    if not (isinstance(value, int) and value >= 1):
        raise UsageError(f"{name}: {field} = {value}: give a whole number of at least 1")


def check_positive(name: str, field: str, value: float) -> None:
    """Refuse anything but a finite number above 0.

    Raises:
        UsageError: Naming attack, field and value.
    """
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name}: {field} = {value}: give a positive number")


def check_share(name: str, field: str, value: float) -> None:
    """Refuse anything outside of the open interval (0, 1).

    Raises:
        UsageError: Naming attack, field and value.
    """
    if not 0 < value < 1:
        raise UsageError(f"{name}: {field} = {value}: give a number between 0 and 1")
