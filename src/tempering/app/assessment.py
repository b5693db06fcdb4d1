"""The standard protocol on a run's models, each stage measured once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tempering.app.recipe import EvaluationSettings
from tempering.app.result_cache import Entry, Journal
from tempering.attacks.registry import parse_attack
from tempering.core.errors import UsageError
from tempering.core.records import AnyRecord, Measurement, MinimumNorm
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.evaluation.context import EvalContext
from tempering.evaluation.curve import sweep
from tempering.evaluation.inspection import inspect
from tempering.evaluation.minimum_norm import measure_minimum_norm
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.standard import Evaluation, run_standard
from tempering.evaluation.target import Target


@dataclass(frozen=True)
class Assessor:
    """Measures models by a recipe's evaluation section.

    Attributes:
        settings: What is measured.
        threat: What may change.
        test: Test data; its first samples are used.
        seed: Of all draws.
        journal: Keeps what was measured.
    """

    settings: EvaluationSettings
    threat: Threat
    test: Dataset
    seed: int
    journal: Journal

    def context(self, samples: int) -> EvalContext:
        """The first samples of the test data.

        Raises:
            UsageError: If there are fewer.
        """
        if samples > len(self.test):
            raise UsageError(
                f"{samples} test samples asked of {self.test.name}, which has {len(self.test)}: "
                f"give at most {len(self.test)}"
            )
        return EvalContext(self.test.first(samples), "test", self.journal.engine, self.seed)

    def standard(
        self,
        target: Target,
        surrogate: nn.Module | None = None,
        before: nn.Module | None = None,
    ) -> Evaluation:
        """The standard protocol on one model."""
        results = self.journal.results(
            f"standard-{target.subject}",
            lambda: (
                run_standard(
                    self.context(self.settings.samples),
                    target,
                    self.threat,
                    [parse_attack(spec) for spec in self.settings.attacks],
                    surrogate=surrogate,
                    before=before,
                ).results
            ),
        )
        return Evaluation(target, self.threat, tuple(results))

    def curve(self, evaluation: Evaluation) -> list[Measurement]:
        """Accuracy against eps; what the standard protocol broke stays broken."""
        target = evaluation.target
        settings = self.settings.curve
        if settings is None:
            return []
        results = self.journal.results(
            f"curve-{target.subject}",
            lambda: sweep(
                self.context(min(settings.samples, self.settings.samples)),
                target,
                self.threat,
                [parse_attack(spec) for spec in settings.attacks],
                eps_grid(self.threat, settings.shares),
                known=broken_at(self.threat, evaluation, settings.samples),
            ),
        )
        return [result.measurement for result in results]

    def distances(self, target: Target) -> list[MinimumNorm]:
        """How far images must be changed."""
        settings = self.settings.minimum_norm
        if settings is None or (target.subject == "undefended" and not settings.undefended):
            return []
        entries = self.journal.entries(
            f"distances-{target.subject}",
            lambda: [
                Entry(
                    measure_minimum_norm(
                        self.context(min(settings.samples, len(self.test))),
                        target,
                        parse_attack(settings.attack),
                        settings.bounds,
                        norm=settings.norm,
                    )
                )
            ],
        )
        return [entry.record for entry in entries if isinstance(entry.record, MinimumNorm)]

    def flags(
        self,
        evaluation: Evaluation,
        curve: Sequence[Measurement],
        distances: Sequence[MinimumNorm],
    ) -> list[AnyRecord]:
        """Whatever makes these numbers untrustworthy."""
        subject = evaluation.target.subject
        entries = self.journal.entries(
            f"flags-{subject}",
            lambda: [
                Entry(flag)
                for flag in inspect(
                    self.context(self.settings.samples),
                    evaluation,
                    sweep=curve,
                    distances=distances,
                )
            ],
        )
        return [entry.record for entry in entries]


def broken_at(threat: Threat, evaluation: Evaluation, samples: int) -> dict[float, PerSampleResult]:
    """What the standard protocol found on the first samples, by eps."""
    worst = evaluation.get("worst", "any").per_sample
    return {threat.eps: worst.at(torch.arange(min(samples, len(worst))))}


def eps_grid(threat: Threat, shares: Sequence[float]) -> list[float]:
    """Values of eps, none larger than a norm allows."""
    limit = 1.0 if threat.name == "linf" else float("inf")
    return sorted({min(limit, round(threat.eps * share, 10)) for share in shares})
