"""The base of objectives that bound boxes, and attack every sample by PGD."""

from __future__ import annotations

from typing import ClassVar

from tempering.attacks.pgd import PGD
from tempering.training.boxes import BoxObjective
from tempering.training.cost import Cost
from tempering.training.objective import InnerMaximization


class AttackedBoxObjective(BoxObjective):
    """Certified training with an adversarial point; a subclass has `steps` as a field."""

    inner_maximization: ClassVar[InnerMaximization] = "attack"

    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.attack

    @property
    def attack(self) -> PGD:
        """The attack that finds the point."""
        return PGD(self.steps, until_fooled=False)

    def inner_passes(self) -> Cost:
        """A pass in both directions for each step."""
        return Cost(self.steps, self.steps)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The point and a box."""
        return Cost(3, 3)
