"""Searches for a counterexample, starting where a linear bound is least."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.goals import Goal, margin, reached
from tempering.core.probe import Probe
from tempering.core.threats import Threat


@dataclass(frozen=True, eq=False)
class CounterexampleSearch:
    """Runs the network itself on images near one sample.

    Attributes:
        probe: The network.
        x: The sample, shape (1, c, h, w).
        y: Its label, shape (1,).
        threat: What may change.
        goal: What counts as success for an attacker.
        steps: Of ascent on the margin, from each image.
    """

    probe: Probe
    x: Tensor
    y: Tensor
    threat: Threat
    goal: Goal
    steps: int = 5

    def __call__(self, points: Tensor) -> Tensor | None:
        """A counterexample, shape (c, h, w), from these starts, shape (m, c, h, w), or None."""
        x = self.x.expand(len(points), -1, -1, -1)
        y = self.y.expand(len(points))
        here = self.threat.project(points.to(self.x.dtype), x)
        for step in range(self.steps + 1):
            seen: list[Tensor] = []

            def loss(logits: Tensor, seen: list[Tensor] = seen) -> Tensor:
                seen.append(self.goal.protected(y, logits.shape[1]))
                return margin(logits, seen[0])

            gradient = None
            if step < self.steps:
                with suppress(ModelError):  # without a gradient only the starts are looked at
                    logits, gradient = self.probe.gradient(here, loss)
            if gradient is None:
                logits = self.probe.logits(here)
                seen = [self.goal.protected(y, logits.shape[1])]
            fooled = reached(logits, seen[0]) & self.threat.contains(here, x)
            if bool(fooled.any()):
                return here[fooled.nonzero()[0, 0]].clone()
            if gradient is None:
                return None
            length = self.threat.eps * 0.5 ** (step + 1)
            here = self.threat.project(here + length * self.threat.ascent(gradient), x)
        return None
