"""The outputs that a sample may be driven to, likeliest first."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.goals import reached
from tempering.core.probe import Probe


def likeliest(logits: Tensor, protected: Tensor, most: int) -> Tensor:
    """The unprotected outputs of largest logits.

    Args:
        logits: Shape (n, outputs).
        protected: Shape of logits, bool; each row has an output that is not protected.
        most: How many at most.

    Returns:
        Output numbers, shape (n, m), int64, with m at most what every row has.
    """
    least = int((~protected).sum(1).min())
    low = torch.finfo(logits.dtype).min
    return logits.masked_fill(protected, low).topk(min(most, least), dim=1).indices


def survey(probe: Probe, problem: Problem, most: int) -> tuple[Tensor, Tensor]:
    """Look at all images of a problem once.

    Args:
        probe: The model.
        problem: At least one sample.
        most: How many targets a sample gets at most.

    Returns:
        Which images already meet the goal, shape (n,), bool, and targets, shape (n, m).
    """
    looks, keeps = [], []
    for rows in problem.batches():
        looks.append(probe.logits(problem.x[rows], problem.draws.index[rows]))
        keeps.append(problem.protected(looks[-1], rows))
    logits, protected = torch.cat(looks), torch.cat(keeps)
    return reached(logits, protected), likeliest(logits, protected, most)
