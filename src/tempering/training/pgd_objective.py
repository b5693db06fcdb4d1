"""The base of objectives whose adversarial samples PGD makes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self

from tempering.attacks.pgd import PGD
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.objective import Batch, InnerMaximization, Warmup


class PGDObjective(Warmup):
    """An objective that attacks every sample of a batch by PGD; a subclass has these fields.

    Attributes:
        steps: Steps of PGD.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    inner_maximization: ClassVar[InnerMaximization] = "attack"

    steps: int
    step_size: float | None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.attack

    @property
    def attack(self) -> PGD:
        """The attack that makes x_adv."""
        return PGD(self.steps, self.step_size, until_fooled=False)

    def multi_step(self) -> Self | None:
        """This objective with ten steps, if it has one."""
        ten = {"steps": 10, "step_size": None}
        return replace(self, **ten) if self.steps == 1 else None

    def require(self, threat: Threat, steps: int) -> None:
        """PGD knows the threat, and the warm-up ends before training does."""
        self.attack.require(threat)
        super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """A pass in both directions for each step."""
        return Cost(self.steps, self.steps)

    def perturb(self, batch: Batch) -> Batch:
        """PGD on every sample."""
        return batch.with_x_adv(batch.attack(self.attack))
