"""APGD's step rule in L-inf and L2: momentum, and halving where progress has stopped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import AdaptiveState
from tempering.core.threats import Threat

_MOMENTUM = 0.75
_RISING = 0.75
"""Share of steps that must raise the loss for a step size to be kept."""
_FIRST, _SHORTER, _LEAST = 0.22, 0.03, 0.06
"""Shares of all steps: the first window, the decrement, and the shortest window."""


@cache
def review_windows(steps: int) -> tuple[int, ...]:
    """Length of the window that each checkpoint covers; 0 where there is no checkpoint.

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
        first: Length of the first step in eps; 2 in the paper.
    """

    first: float = 2.0

    def begin(self, state: AdaptiveState, threat: Threat) -> None:
        """The first step."""
        state.step = torch.full_like(state.step, self.first * threat.eps)

    def review(self, state: AdaptiveState, gradient: Tensor, threat: Threat, steps: int) -> Tensor:  # noqa: ARG002
        """Halve, and go back to the best point, where too few steps rose or nothing improved."""
        window = torch.tensor(review_windows(steps), device=gradient.device)[state.done]
        due = window > 0
        if not bool(due.any()):
            return gradient
        stalled = state.rises <= _RISING * window
        stuck = ~state.shortened & (state.mark >= state.best_loss)
        cut = due & (stalled | stuck)
        state.step = torch.where(cut, state.step / 2, state.step)
        state.shortened = torch.where(due, cut, state.shortened)
        state.mark = torch.where(due, state.best_loss, state.mark)
        state.rises = state.rises.masked_fill(due, 0)
        wide = cut[:, None, None, None]
        state.x_adv = torch.where(wide, state.best, state.x_adv)
        return torch.where(wide, state.best_gradient, gradient)

    def move(self, state: AdaptiveState, gradient: Tensor, threat: Threat) -> Tensor:
        """A projected step, mixed with the one before."""
        x, x_adv = state.x, state.x_adv
        step = threat.ascent(gradient) * state.step[:, None, None, None]
        forward = threat.project(x_adv + step, x)
        new = torch.where(state.done == 0, 1.0, _MOMENTUM).to(x.dtype)[:, None, None, None]
        mixed = x_adv + new * (forward - x_adv) + (1 - new) * (x_adv - state.previous)
        return threat.project(mixed, x)
