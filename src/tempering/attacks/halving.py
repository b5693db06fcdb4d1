"""APGD's steps in L-inf and L2: momentum, and halving where a climb has stopped paying."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import Trail
from tempering.core.threats import Threat

_MOMENTUM = 0.75
_RISING = 0.75
"""Share of steps that must raise the loss for a step size to be kept."""
_FIRST, _SHORTER, _LEAST = 0.22, 0.03, 0.06
"""Shares of all steps: the first window, how much each is shorter, and the shortest."""


@cache
def review_windows(steps: int) -> tuple[int, ...]:
    """Length of the window that a review after each step looks back on; 0 for no review.

    Args:
        steps: In all.

    Returns:
        steps + 1 numbers, for 0 to `steps` steps taken (Croce and Hein, 2020, section 3.1).

    Example:
        >>> [step for step, window in enumerate(review_windows(100)) if window][:4]
        [22, 41, 57, 70]
    """
    window, shorter, least = (max(int(part * steps), 1) for part in (_FIRST, _SHORTER, _LEAST))
    windows, at = [0] * (steps + 1), window
    while at <= steps:
        windows[at] = window
        window = max(window - shorter, least)
        at += window
    return tuple(windows)


@dataclass(frozen=True)
class Halving:
    """Steps of length 2 eps at first, halved at reviews (Croce and Hein, 2020, algorithm 1).

    Attributes:
        first: How many times eps the first step is long; as wide as the ball in the paper.
    """

    first: float = 2.0

    def begin(self, trail: Trail, threat: Threat) -> None:
        """The first step."""
        trail.step = torch.full_like(trail.step, self.first * threat.eps)

    def review(self, trail: Trail, gradient: Tensor, threat: Threat, steps: int) -> Tensor:  # noqa: ARG002
        """Halve, and go back to the best point, where too few steps rose or nothing improved."""
        window = torch.tensor(review_windows(steps), device=gradient.device)[trail.done]
        due = window > 0
        if not bool(due.any()):
            return gradient
        stalled = trail.rises <= _RISING * window
        stuck = ~trail.shortened & (trail.mark >= trail.best_loss)
        cut = due & (stalled | stuck)
        trail.step = torch.where(cut, trail.step / 2, trail.step)
        trail.shortened = torch.where(due, cut, trail.shortened)
        trail.mark = torch.where(due, trail.best_loss, trail.mark)
        trail.rises = trail.rises.masked_fill(due, 0)
        wide = cut[:, None, None, None]
        trail.x_adv = torch.where(wide, trail.best, trail.x_adv)
        return torch.where(wide, trail.best_gradient, gradient)

    def move(self, trail: Trail, gradient: Tensor, threat: Threat) -> Tensor:
        """A projected step, mixed with the one before."""
        x, x_adv = trail.x, trail.x_adv
        step = threat.ascent(gradient) * trail.step[:, None, None, None]
        forward = threat.project(x_adv + step, x)
        new = torch.where(trail.done == 0, 1.0, _MOMENTUM).to(x.dtype)[:, None, None, None]
        mixed = x_adv + new * (forward - x_adv) + (1 - new) * (x_adv - trail.previous)
        return threat.project(mixed, x)
