"""The base of attacks that modify one other attack or its view of the model."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

from tempering.attacks.base import Attack
from tempering.core.threats import Threat


@dataclass(frozen=True)
class AttackWrapper(Attack, ABC):
    """An attack around an inner attack; norms, effort and configuration follow the inner one.

    Attributes:
        attack: The inner attack.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "patch")
    any_threat: ClassVar[bool] = True

    attack: Attack

    def require(self, threat: Threat) -> None:
        """Refuse a threat in which this attack or the inner one does not work.

        Raises:
            ThreatError: Naming the norms in which it does.
        """
        super().require(threat)
        self.attack.require(threat)

    def effort(self) -> int:
        """Effort of the inner attack."""
        return self.attack.effort()

    def batch_dependent(self) -> bool:
        """Whether the inner attack is batch-dependent."""
        return self.attack.batch_dependent()

    def minimum_norm(self) -> bool:
        """Whether the inner attack is a minimum-norm attack."""
        return self.attack.minimum_norm()

    def config(self) -> dict[str, Any]:
        """The inner attack's configuration, and the settings of this one under its name."""
        return {**self.attack.config(), self.name: self.settings()}

    def settings(self) -> dict[str, Any]:
        """The settings that this attack adds."""
        return {}

    def label(self) -> str:
        """Such as `pgd-40+bpda`."""
        return f"{self.attack.label()}+{self.name}"
