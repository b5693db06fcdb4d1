"""What attacks have in common that run one other attack on a model seen differently."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

from tempering.attacks.base import Attack
from tempering.core.threats import Threat


@dataclass(frozen=True)
class Wrapping(Attack, ABC):
    """The base of adaptive attacks.

    Attributes:
        attack: What runs.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "patch")

    attack: Attack

    def require(self, threat: Threat) -> None:
        """Refuse a threat whose norm the inner attack does not know.

        Raises:
            ThreatError: Naming the norms that it does know.
        """
        self.attack.require(threat)

    def effort(self) -> int:
        """The inner attack's."""
        return self.attack.effort()

    def batch_dependent(self) -> bool:
        """Whether the inner attack does."""
        return self.attack.batch_dependent()

    def minimum_norm(self) -> bool:
        """Whether the inner attack does."""
        return self.attack.minimum_norm()

    def config(self) -> dict[str, Any]:
        """The inner attack's hyperparameters, and what this one adds under its own name."""
        return {**self.attack.config(), self.name: self.settings()}

    def settings(self) -> dict[str, Any]:
        """What this attack adds."""
        return {}

    def label(self) -> str:
        """Such as `pgd-40+bpda`."""
        return f"{self.attack.label()}+{self.name}"
