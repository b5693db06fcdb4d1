"""Trying again with other draws, on the samples that still stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.core.errors import UsageError
from tempering.core.goals import reached
from tempering.core.probe import Probe
from tempering.core.threats import Threat


@dataclass(frozen=True)
class Restarts(Attack):
    """An attack, repeated on its survivors with fresh random streams.

    An attack that draws nothing finds the same again.

    Attributes:
        attack: What to repeat.
        times: How often to run it at most.
    """

    name: ClassVar[str] = "restarts"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "patch")
    source: ClassVar[str] = "Madry et al., 2018"
    cost: ClassVar[str] = "times x the attack's, and a forward between"

    attack: Attack
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise UsageError(f"restarts = {self.times}: give at least 1")

    def require(self, threat: Threat) -> None:
        """Refuse a threat whose norm the inner attack does not know.

        Raises:
            ThreatError: Naming the norms that it does know.
        """
        self.attack.require(threat)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run, keep what fooled, and run again on the rest; the first run draws as if alone."""
        out = problem.x.clone()
        standing = torch.arange(len(out), device=out.device)
        for time in range(self.times):
            streams = problem.streams.derive("restart", time) if time else problem.streams
            part = replace(problem, streams=streams).part(standing)
            attack = from_elsewhere(self.attack) if time else self.attack
            x_adv = attack.propose(probe, part)
            out[standing] = x_adv
            if time + 1 == self.times:
                break
            standing = standing[~_fooled(probe, part, x_adv)]
            if not len(standing):
                break
        return out

    def effort(self) -> int:
        """As often as it runs, the attack's."""
        return self.times * self.attack.effort()

    def batch_dependent(self) -> bool:
        """Whether the inner attack does."""
        return self.attack.batch_dependent()

    def minimum_norm(self) -> bool:
        """Whether the inner attack does."""
        return self.attack.minimum_norm()

    def config(self) -> dict[str, Any]:
        """The inner attack's hyperparameters, and how often."""
        config = self.attack.config()
        return {**config, "restarts": self.times * config.get("restarts", 1)}

    def label(self) -> str:
        """Such as `pgd-40x2`."""
        return f"{self.attack.label()}x{self.times}"


def from_elsewhere(attack: Attack) -> Attack:
    """The attack from a random start, where it knows one."""
    if hasattr(attack, "random_start"):
        changed: dict[str, Any] = {"random_start": True}
        return replace(attack, **changed)
    return attack


def _fooled(probe: Probe, problem: Problem, x_adv: Tensor) -> Tensor:
    verdicts = []
    for rows in problem.batches():
        logits = probe.logits(x_adv[rows], problem.streams.index[rows])
        verdicts.append(reached(logits, problem.protected(logits, rows)))
    return torch.cat(verdicts)
