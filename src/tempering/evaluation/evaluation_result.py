"""What an evaluation found, sample by sample and as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.core.class_records import PerClass
from tempering.core.errors import UsageError
from tempering.core.proofs import Proof
from tempering.core.protocols import Detector, registered_name
from tempering.core.records import (
    NO_ATTACKS,
    Abstaining,
    Access,
    AnyRecord,
    Flag,
    Measurement,
    StageResult,
)
from tempering.core.threats import Threat
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.results import AttackResult, Backward
from tempering.evaluation.target import Target


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What became of one model, and of each sample.

    Attributes:
        target: The model.
        threat: What was allowed.
        results: Everything that was measured, in order: clean, attacks, and last the worst
            cases over white-box access and over everything.
        certificates: Which samples were certified; None if that was not tried.
        broken_by: The attack that broke each sample first; empty where none did.
        stages: Stage -> samples that are robust after it, and what it took.
        schedule: What the order of the stages was learned from.
        flags: What makes the numbers untrustworthy.
        curve: Accuracy against eps, smallest first, up to twice the threat's eps unless more was
            asked for.
        certified_curve: Certified accuracy, and the same against eps.
        per_class: Robust accuracy of each class; None before the evaluation has ended.
    """

    target: Target
    threat: Threat
    results: tuple[AttackResult, ...]
    certificates: CertifiedSamples | None = None
    broken_by: tuple[str, ...] = ()
    stages: Mapping[str, StageResult] = field(default_factory=dict)
    schedule: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    curve: tuple[Measurement, ...] = ()
    certified_curve: tuple[Proof, ...] = ()
    per_class: PerClass | None = None

    @property
    def clean(self) -> Tensor:
        """Samples that are right without attack, shape (n,), bool."""
        return self.get("clean").per_sample.robust

    @property
    def robust(self) -> Tensor:
        """Samples that are right after everything that was tried, shape (n,), bool."""
        return self.get("worst", "any").per_sample.robust

    @property
    def certified(self) -> Tensor:
        """Samples with a certificate, shape (n,), bool."""
        if self.certificates is None:
            return torch.zeros_like(self.robust)
        return self.certificates.certified

    @property
    def distance(self) -> Tensor:
        """How far each broken sample was changed, shape (n,), float64; infinite elsewhere."""
        broken = self.clean & ~self.robust
        return self.get("worst", "any").per_sample.distance.masked_fill(~broken, torch.inf)

    @property
    def forwards(self) -> Tensor:
        """Forward passes of each sample in all attacks, shape (n,), int64."""
        return self.get("worst", "any").per_sample.forwards

    @property
    def backwards(self) -> Tensor:
        """Backward passes, likewise."""
        return self.get("worst", "any").per_sample.backwards

    @property
    def measurements(self) -> list[Measurement]:
        """The records of clean accuracy, attacks and worst cases, in order."""
        return [result.measurement for result in self.results]

    @property
    def records(self) -> list[AnyRecord]:
        """All records, in order."""
        classes = [] if self.per_class is None else [self.per_class]
        measured: list[AnyRecord] = [*self.measurements, *self.curve, *self.certified_curve]
        return [*measured, *self._abstaining(), *classes, *self.flags]

    def _abstaining(self) -> list[Abstaining]:
        """What lets the model abstain; empty if it cannot."""
        if self.target.flag is None:
            return []
        detector = getattr(self.target.model, "detector", None)
        own = detector if isinstance(detector, Detector) else None
        clean = self.get("clean").measurement
        return [
            Abstaining(
                subject=clean.subject,
                detector="" if own is None else registered_name(own) or type(own).__name__,
                threshold=None if own is None else float(own.threshold),
                weights=clean.weights,
                data_hash=clean.data_hash,
            )
        ]

    def find(
        self, attack: str, access: Access = "white", backward: Backward = "adaptive"
    ) -> AttackResult | None:
        """The first result of that kind, or None if there is none."""
        wanted = (attack, access, backward)
        return next((result for result in self.results if _key(result.measurement) == wanted), None)

    def get(self, attack: str, access: Access = "white") -> AttackResult:
        """One result that must be there.

        Raises:
            UsageError: If it is not.
        """
        result = self.find(attack, access)
        if result is None:
            known = ", ".join(f"{result.attack} ({result.access})" for result in self.measurements)
            raise UsageError(f"nothing was measured for {attack} ({access}): there is {known}")
        return result

    def attacks(self, access: Access, backward: Backward = "adaptive") -> list[AttackResult]:
        """Results of attacks that can be compared, without clean, worst and forced flags.

        These are the attacks on all samples, if there are some; otherwise those on undecided
        samples.
        """
        results = [
            result
            for result in self.results
            if result.measurement.attack not in NO_ATTACKS
            and result.measurement.access == access
            and result.measurement.backward == backward
        ]
        return on_all_samples(results) or results


def on_all_samples(results: Sequence[AttackResult]) -> list[AttackResult]:
    """Results of attacks that ran on every sample."""
    return [result for result in results if result.measurement.protocol == "standard"]


def _key(measurement: Measurement) -> tuple[str, str, str]:
    return measurement.attack, measurement.access, measurement.backward
