"""What an evaluation is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.records import Access
from tempering.core.threats import Threat
from tempering.evaluation.stages import Protocol

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Values of eps on the curve, as multiples of the threat's."""


@dataclass(frozen=True)
class CurveConfig:
    """Accuracy against eps.

    Attributes:
        samples: The first test images that it is measured on, at most.
        shares: Values of eps, as multiples of the threat's. The record of the curve ends at
            twice the threat's eps, or at the largest share if that is more.
        attacks: Run at each eps on what a minimum-norm attack has left, one after the other.
        up_to_grey: Whether accuracy is also measured at the eps at which every image can be grey,
            and no classifier can be better than chance, for a check.
    """

    samples: int = 100
    shares: tuple[float, ...] = SHARES
    attacks: tuple[Attack, ...] = ()
    up_to_grey: bool = True


@dataclass(frozen=True)
class EvaluationConfig:
    """What an evaluation is asked to do.

    Attributes:
        threat: What an attacker may change.
        protocol: The attack stages.
        access: What attackers know, for the record: `white`, `gray`, `black` or `all`.
        sources: Models that attackers own, by the access of the stages that use them.
        surrogate: Makes the model of a gray-box attacker in a number of seconds (infinite for no
            limit), or None if none can be had; it is called where gradients turn out to be
            masked. None to do without.
        seconds: How long attacks may take; None for no limit. With a limit the curve and
            complete verification are left out.
        curve: Accuracy against eps; None for none.
        certify: Whether samples are certified before they are attacked.
        spot_checks: Certified samples that are attacked nevertheless, to test certificates.
        examined: Samples on which model and gradients are examined for signs that attacks
            mislead; 0 for none.
    """

    threat: Threat
    protocol: Protocol
    access: str = "white"
    sources: Mapping[Access, nn.Module] = field(default_factory=dict)
    surrogate: Callable[[float], nn.Module | None] | None = None
    seconds: float | None = None
    curve: CurveConfig | None = field(default_factory=CurveConfig)
    certify: bool = True
    spot_checks: int = 48
    examined: int = 32

    def require_sources(self) -> None:
        """Refuse stages whose attack does not know the threat, or lacks the model it needs.

        Raises:
            ThreatError: If an attack does not know the threat's norm.
            UsageError: If a stage needs a source that is missing.
        """
        for stage in self.protocol.stages:
            stage.attack.require(self.threat)
            if stage.access not in ("white", "black") and stage.access not in self.sources:
                raise UsageError(
                    f"stage {stage} without a model that its attacker owns: "
                    f"give sources[{stage.access!r}]"
                )
