"""Whether points reach the goal of an attack."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.goals import reached
from tempering.core.probe import Probe


def fooled(probe: Probe, problem: Problem, x_adv: Tensor) -> Tensor:
    """Which points reach the goal, shape (n,), bool; a forward pass each.

    Args:
        probe: The model.
        problem: Samples and goal, n of them.
        x_adv: One point a sample, shape (n, c, h, w).
    """
    verdicts = []
    for rows in problem.batches():
        logits = probe.logits(x_adv[rows], problem.streams.index[rows])
        verdicts.append(reached(logits, problem.protected(logits, rows)))
    return torch.cat(verdicts)
