"""Attacks that are trained on many images: gradients and input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.core.errors import UsageError
from tempering.core.goals import Goal, Untargeted, log_odds
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat

_SATURATION = 3.0
"""Log odds beyond which a sample contributes no gradient."""


@dataclass(frozen=True, eq=False)
class TrainingLoss:
    """The loss by which a perturbation is trained.

    Attributes:
        goal: What counts as success.
        y: Labels, shape (n,), int64.
        probe: The model.
    """

    goal: Goal
    y: Tensor
    probe: Probe

    def gradient(self, x_adv: Tensor, index: Tensor) -> Tensor:
        """Gradient of clipped log odds, shape of x_adv."""

        def loss(logits: Tensor) -> Tensor:
            odds = log_odds(logits, self.goal.protected(self.y, logits.shape[1]))
            return odds.clamp_max(_SATURATION)

        return self.probe.gradient(x_adv, loss, index)[1]


def in_order(problem: Problem) -> Problem:
    """The same problem with its samples sorted by number, so that their order has no effect."""
    order = problem.streams.index.argsort(stable=True)
    return replace(problem, x=problem.x[order], y=problem.y[order], streams=problem.streams[order])


def as_problem(
    attack: Attack,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    random: RandomStreams | None,
    goal: Goal | None,
    batch_size: int,
) -> Problem:
    """The problem on which an attack is trained.

    Raises:
        ThreatError: If the attack does not work in the threat.
        UsageError: If there is no image.
    """
    attack.require(threat)
    if len(x) == 0:
        raise UsageError(f"{attack.name}: no training images: give at least one")
    streams = (random or RandomStreams.of(0, len(x))).on(x.device)
    return Problem(x.detach(), y, threat, streams, goal or Untargeted(), max(1, batch_size))


def shared_stream(streams: RandomStreams) -> RandomStreams:
    """One stream that depends on the seed only, for values that all samples share."""
    return RandomStreams(
        streams.key, torch.zeros(1, dtype=torch.int64, device=streams.index.device)
    )
