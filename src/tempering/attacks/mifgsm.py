"""MI-FGSM: iterative steps along an accumulated gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.attacks.ascent import Ascent, clean_start
from tempering.attacks.base import Attack, Problem
from tempering.attacks.momentum import MomentumProbe
from tempering.attacks.steps import check_steps
from tempering.core.errors import UsageError
from tempering.core.probe import Probe


@dataclass(frozen=True)
class MIFGSM(Attack):
    """The momentum iterative method: steps along the sum of all L1-normalized gradients.

    Dong et al., 'Boosting adversarial attacks with momentum', 2018, algorithm 1.

    Attributes:
        steps: Gradient steps per sample.
        step_size: Length of a step in the threat's norm; None for eps / steps.
        decay: Factor of the accumulated gradient at each step.
        until_fooled: Whether a sample leaves as soon as it is fooled; transfer needs all
            steps.
    """

    name: ClassVar[str] = "mifgsm"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    source: ClassVar[str] = "Dong et al., 2018"
    any_threat: ClassVar[bool] = True
    cost: ClassVar[str] = "steps x (forward + backward)"

    steps: int = 10
    step_size: float | None = None
    decay: float = 1.0
    until_fooled: bool = True

    def __post_init__(self) -> None:
        check_steps(self.name, self.steps, self.step_size)
        if not 0 <= self.decay < math.inf:
            raise UsageError(f"mifgsm: decay = {self.decay}: give a number of at least 0")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Ascend cross-entropy with momentum."""
        step_size = problem.threat.eps / self.steps if self.step_size is None else self.step_size
        return Ascent(
            steps=self.steps,
            step_size=step_size,
            start=clean_start,
            loss="cross-entropy",
            until_fooled=self.until_fooled,
        ).run(MomentumProbe(probe, self.decay), problem)
