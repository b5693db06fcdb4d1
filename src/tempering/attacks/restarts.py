"""Restarts with fresh random streams on the samples that are still robust."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.fooled import fooled
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import UsageError
from tempering.core.probe import Probe


@dataclass(frozen=True)
class Restarts(AttackWrapper):
    """An attack repeated with fresh random streams on the samples that it did not fool.

    A deterministic attack gains nothing from restarts.

    Attributes:
        attack: The attack to repeat.
        times: Number of runs at most.
    """

    name: ClassVar[str] = "restarts"
    source: ClassVar[str] = "Madry et al., 2018"
    cost: ClassVar[str] = "times x that of the attack, and a forward between runs"

    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise UsageError(f"restarts = {self.times}: give at least 1")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run on the samples not yet fooled; the first run draws as the attack alone would."""
        out = problem.x.clone()
        robust = torch.arange(len(out), device=out.device)
        for time in range(self.times):
            streams = problem.streams.derive("restart", time) if time else problem.streams
            part = replace(problem, streams=streams).part(robust)
            attack = with_random_start(self.attack) if time else self.attack
            x_adv = attack.propose(probe, part)
            out[robust] = x_adv
            if time + 1 == self.times:
                break
            robust = robust[~fooled(probe, part, x_adv)]
            if not len(robust):
                break
        return out

    def effort(self) -> int:
        """Effort of the attack, times the number of runs."""
        return self.times * self.attack.effort()

    def config(self) -> dict[str, Any]:
        """The inner attack's configuration, and the number of runs."""
        config = self.attack.config()
        return {**config, "restarts": self.times * config.get("restarts", 1)}

    def label(self) -> str:
        """Such as `pgd-40x2`."""
        return f"{self.attack.label()}x{self.times}"


def with_random_start(attack: Attack) -> Attack:
    """The attack with a random start, if it has that option."""
    if hasattr(attack, "random_start"):
        changed: dict[str, Any] = {"random_start": True}
        return replace(attack, **changed)
    return attack
