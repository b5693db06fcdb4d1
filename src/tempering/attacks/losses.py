"""Losses that gradient attacks maximize: from logits to one number per sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.goals import log_odds, margin
from tempering.core.probe import Probe

_TINY = 1e-12


def ratio(logits: Tensor, protected: Tensor) -> Tensor:
    """Difference of logits ratio, shape (n,) (Croce and Hein, 2020, equation 6).

    The margin over the distance from the first to the third largest logit: it is
    invariant to the scale of the logits. With two outputs it is the margin itself. Where
    several outputs are protected, such as the true class and that of a detector, only the
    largest of them is ranked: with both ahead the ratio would be -1 everywhere.
    """
    gap = margin(logits, protected)
    ranked = _ranked(logits, protected, 3)
    if ranked.shape[1] < 3:
        return gap
    top = ranked.topk(3, dim=1).values
    return gap / (top[:, 0] - top[:, 2] + _TINY)


def margin_to(logits: Tensor, protected: Tensor, target: Tensor) -> Tensor:
    """Logit of a target minus the best protected one, shape (n,); target is (n,), int64."""
    low = torch.finfo(logits.dtype).min
    best = logits.masked_fill(~protected, low).amax(1)
    return logits.gather(1, target[:, None])[:, 0] - best


def ratio_to(logits: Tensor, protected: Tensor, target: Tensor) -> Tensor:
    """Targeted difference of logits ratio, shape (n,) (Croce and Hein, 2020, equation 7).

    With three outputs the smallest logit takes the place of the fourth largest; with two
    outputs it is the margin itself. Protected outputs are ranked as in `ratio`.
    """
    gap = margin_to(logits, protected, target)
    ranked = _ranked(logits, protected, 3)
    if ranked.shape[1] < 3:
        return gap
    top = ranked.topk(min(4, ranked.shape[1]), dim=1).values
    return gap / (top[:, 0] - (top[:, 2] + top[:, -1]) / 2 + _TINY)


def _ranked(logits: Tensor, protected: Tensor, least: int) -> Tensor:
    """The unprotected logits and the largest protected one, largest first.

    All logits as they are if one output is protected in each row, or if fewer than `least`
    would be left.
    """
    guarded = protected.sum(1)
    left = logits.shape[1] - int(guarded.max()) + 1 if len(logits) else 0
    if left < least or int(guarded.max()) <= 1:
        return logits
    low = torch.finfo(logits.dtype).min
    best = logits.masked_fill(~protected, low).amax(1, keepdim=True)
    free = logits.masked_fill(protected, low).topk(left - 1, dim=1).values
    return torch.cat([best, free], 1)


def distance_to_success(probe: Probe, problem: Problem, points: Tensor, rows: Tensor) -> Tensor:
    """The negative DLR loss, which is invariant to the scale of the logits.

    Args:
        probe: The model.
        problem: Samples and goal.
        points: One per sample, shape (n, c, h, w).
        rows: Samples, shape (m,), int64; a forward pass each.

    Returns:
        Shape (m,); below 0 where the points succeed.
    """
    losses = [points.new_zeros(0)]
    for part in torch.split(rows, problem.batch_size) if len(rows) else ():
        logits = probe.logits(points[part], problem.streams.index[part])
        losses.append(ratio(logits, problem.protected(logits, part)))
    return -torch.cat(losses)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": log_odds,
    "margin": margin,
    "ratio": ratio,
}
"""Loss names -> from logits and protected outputs to one number per sample."""
