"""APGD on the difference of logits ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.attacks.apgd import APGD
from tempering.attacks.base import Problem
from tempering.attacks.losses import LOSSES
from tempering.core.probe import Probe


@dataclass(frozen=True)
class APGDDLR(APGD):
    """Climb the difference of logits ratio with steps of adaptive length.

    Croce and Hein, 'Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks', 2020; in L1 'Mind the box', 2021.
    """

    name: ClassVar[str] = "apgd-dlr"
    source: ClassVar[str] = "Croce and Hein, 2020"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """One climb a sample."""
        loss = LOSSES["ratio"]
        return self.climb(probe, problem, lambda logits, keep, _: loss(logits, keep)).points
