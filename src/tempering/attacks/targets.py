"""Target classes of targeted attacks: the most likely ones, ranked by short trial runs."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.steps import check_count
from tempering.core.goals import reached
from tempering.core.probe import Probe


def most_likely(logits: Tensor, protected: Tensor, most: int) -> Tensor:
    """The unprotected outputs of the largest logits.

    Args:
        logits: Shape (n, outputs).
        protected: Shape of logits, bool; each row has an output that is not protected.
        most: Number of outputs at most.

    Returns:
        Output numbers, shape (n, m), int64, with m at most what every row has.
    """
    least = int((~protected).sum(1).min())
    low = torch.finfo(logits.dtype).min
    return logits.masked_fill(protected, low).topk(min(most, least), dim=1).indices


def rank_targets(probe: Probe, problem: Problem, most: int) -> tuple[Tensor, Tensor]:
    """Evaluate all images once and order their targets by likelihood.

    Args:
        probe: The model.
        problem: At least one sample.
        most: Number of targets per sample at most.

    Returns:
        Which images already meet the goal, shape (n,), bool, and targets, shape (n, m).
    """
    parts, keeps = [], []
    for rows in problem.batches():
        parts.append(probe.logits(problem.x[rows], problem.streams.index[rows]))
        keeps.append(problem.protected(parts[-1], rows))
    logits, protected = torch.cat(parts), torch.cat(keeps)
    return reached(logits, protected), most_likely(logits, protected, most)


def best_targets(targets: Tensor, score: Tensor, most: int) -> Tensor:
    """The targets of the largest score, best first; ties go to the more likely target.

    Args:
        targets: Output numbers, shape (n, m), most likely first.
        score: Result of each target's trial, shape (n, m).
        most: Number of targets to keep.

    Returns:
        Output numbers, shape (n, most).
    """
    order = score.argsort(dim=1, descending=True, stable=True)
    return targets.gather(1, order[:, :most])


def trial_steps(steps: int) -> int:
    """Steps of a trial run: a tenth, at least one.

    Example:
        >>> trial_steps(100), trial_steps(3)
        (10, 1)
    """
    return max(steps // 10, 1)


def check_top_targets(name: str, top_targets: int | None) -> None:
    """Refuse an invalid number of targets that get all steps.

    Raises:
        UsageError: Naming attack, field and value.
    """
    if top_targets is not None:
        check_count(name, "top_targets", top_targets)
