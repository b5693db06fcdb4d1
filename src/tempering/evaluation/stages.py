"""A protocol as a value: which attacks run, with which access, on which samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tempering.attacks.base import Attack
from tempering.core.records import Access
from tempering.evaluation.results import Backward


@dataclass(frozen=True)
class Stage:
    """One attack of a protocol.

    Attributes:
        attack: Proposes adversarial images.
        access: What the attacker knows.
        backward: Which gradient of stages with an adaptive backward the attack sees.
        all_samples: Whether it runs on every sample, so that it has an accuracy of its own;
            otherwise it runs on samples that are neither certified nor broken.
        optional: Whether the stage is skipped if the attack cannot run on this model, or there
            is no time for it.
    """

    attack: Attack
    access: Access = "white"
    backward: Backward = "adaptive"
    all_samples: bool = False
    optional: bool = False

    def __str__(self) -> str:
        details: list[str] = [] if self.access == "white" else [self.access]
        details += ["true gradient"] if self.backward == "true" else []
        return f"{self.attack.label()} ({', '.join(details)})" if details else self.attack.label()


@dataclass(frozen=True)
class Protocol:
    """Attack stages in their order.

    Attributes:
        name: Of the protocol, for the record.
        stages: What runs; stages on all samples come first.
        ranked: Whether white-box stages on undecided samples are ordered by what they break
            for their passes on a few samples.
        selective: Whether ranking leaves out stages that break nothing there.

    Example:
        >>> from tempering.attacks import FGSM, PGD
        >>> protocol = Protocol("mine", (Stage(FGSM()), Stage(PGD(steps=40))))
        >>> [str(stage) for stage in protocol.stages]
        ['fgsm', 'pgd-40']
    """

    name: str
    stages: tuple[Stage, ...]
    ranked: bool = False
    selective: bool = False

    def then(self, other: Protocol) -> Protocol:
        """These stages, and then those of another protocol, whose name the whole has."""
        return replace(other, stages=(*self.stages, *other.stages))

    def on_all_samples(self) -> list[Stage]:
        """Stages that run on every sample."""
        return [stage for stage in self.stages if stage.all_samples]

    def on_undecided(self) -> dict[Access, list[Stage]]:
        """Stages that run on undecided samples, by access."""
        stages = [stage for stage in self.stages if not stage.all_samples]
        accesses = dict.fromkeys(stage.access for stage in stages)
        return {
            access: [stage for stage in stages if stage.access == access] for access in accesses
        }
