"""Climbs that start elsewhere, several of each sample side by side to fill a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import Climb
from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Problem
from tempering.attacks.losses import ratio_to
from tempering.attacks.targets import shortlist, survey, trial_steps
from tempering.core.probe import Probe
from tempering.core.random import Draws


def to_each(probe: Probe, problem: Problem, steps: int, targets: int) -> Tensor:
    """The best points of climbs to the likeliest targets, one each.

    Args:
        probe: The model.
        problem: Samples, threat and goal.
        steps: Gradient steps of a climb.
        targets: How many of the likeliest outputs are tried.
    """
    _, likeliest = survey(probe, problem, targets)
    return _best(len(likeliest), _climbs(probe, problem, likeliest, steps, "target"))


def to_the_best(probe: Probe, problem: Problem, steps: int, targets: int, climbs: int) -> Tensor:
    """The best points of some climbs, of so many to each target that a trial gave most hope.

    Args:
        probe: The model.
        problem: Samples, threat and goal.
        steps: Gradient steps of a climb.
        targets: How many of the likeliest outputs are tried.
        climbs: How many get all steps, and how often each target has a trial.
    """
    _, likeliest = survey(probe, problem, targets)
    tried = likeliest.repeat(1, climbs)
    trial = _climbs(probe, problem, tried, trial_steps(steps), "trial")
    finalists = shortlist(tried, _hope(trial).view(-1, len(tried)).t(), climbs)
    return _best(len(tried), _climbs(probe, problem, finalists, steps, "finalist"), trial)


def _climbs(probe: Probe, problem: Problem, targets: Tensor, steps: int, purpose: str) -> Climb:
    """A climb to each target, shape (n, m): all samples to their first, then to the next."""
    n, m = targets.shape
    everyone = torch.arange(n, device=targets.device)

    def abreast(numbers: Sequence[int]) -> Climb:
        draws = [problem.draws.to(purpose, number) for number in numbers]
        part = problem.part(everyone.repeat(len(numbers)))
        part = replace(part, draws=Draws.side_by_side(draws))
        aims = targets[:, numbers[0] : numbers[-1] + 1].t().flatten()
        return APGDT(steps).climb(probe, part, ratio_to, aims)

    groups = [[number] for number in range(m)] if probe.remembers else [list(range(m))]
    return Climb(*(torch.cat(parts) for parts in zip(*map(abreast, groups), strict=True)))


def _hope(climb: Climb) -> Tensor:
    """The loss that climbs reached; infinite where they fooled."""
    return climb.loss.masked_fill(climb.fooled, torch.inf)


def _best(n: int, *climbs: Climb) -> Tensor:
    """The best point of each of n samples."""
    hope = torch.cat([_hope(climb) for climb in climbs]).view(-1, n)
    points = torch.cat([climb.points for climb in climbs])
    return points[hope.argmax(0) * n + torch.arange(n, device=points.device)]
