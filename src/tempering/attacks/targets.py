"""The outputs that a sample may be driven to, likeliest first; a trial of all picks top_targets.

A targeted attack spends most of its passes on targets that are out of reach. A tenth of
the steps towards each of them shows which are worth the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.steps import check_count
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


def shortlist(targets: Tensor, score: Tensor, most: int) -> Tensor:
    """The targets of largest score, best first; of equal ones the likeliest.

    Args:
        targets: Output numbers, shape (n, m), likeliest first.
        score: What a trial of each gave, shape (n, m).
        most: How many stay.

    Returns:
        Output numbers, shape (n, most).
    """
    order = score.argsort(dim=1, descending=True, stable=True)
    return targets.gather(1, order[:, :most])


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
        looks.append(probe.logits(problem.x[rows], problem.streams.index[rows]))
        keeps.append(problem.protected(looks[-1], rows))
    logits, protected = torch.cat(looks), torch.cat(keeps)
    return reached(logits, protected), likeliest(logits, protected, most)


def trial_steps(steps: int) -> int:
    """Steps of a trial: a tenth, at least one.

    Example:
        >>> trial_steps(100), trial_steps(3)
        (10, 1)
    """
    return max(steps // 10, 1)


def check_top_targets(name: str, top_targets: int | None) -> None:
    """Refuse numbers of top_targets that make no attack.

    Raises:
        UsageError: Naming attack, field and value.
    """
    if top_targets is not None:
        check_count(name, "top_targets", top_targets)
