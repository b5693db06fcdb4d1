"""FGSM: one step along the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.attacks.ascent import Ascent, clean_start
from tempering.attacks.base import Attack, Problem
from tempering.core.probe import Probe


@dataclass(frozen=True)
class FGSM(Attack):
    """One full step along the steepest direction of cross-entropy.

    Goodfellow, Shlens and Szegedy, 'Explaining and harnessing adversarial examples', 2015.
    """

    name: ClassVar[str] = "fgsm"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Goodfellow, Shlens and Szegedy, 2015"
    any_threat: ClassVar[bool] = True
    cost: ClassVar[str] = "forward + backward"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """One step of length eps."""
        return Ascent(
            steps=1,
            step_size=problem.threat.eps,
            start=clean_start,
            loss="cross-entropy",
            until_fooled=False,
        ).run(probe, problem)
