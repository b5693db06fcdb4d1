"""What all steps of one evaluation share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tempering.core.deadline import Deadline
from tempering.core.threats import Threat
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.result_cache import ResultCache
from tempering.evaluation.results import AttackResult
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Predictions


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """One evaluation of one target, after its clean predictions.

    Attributes:
        context: Data, engine and seed.
        target: The model under attack.
        config: What is asked for.
        cache: Stores results of steps.
        deadline: When attacks must end.
        predictions: The target's predictions without attack.
        clean: The same, as a record.
    """

    context: EvalContext
    target: Target
    config: EvaluationConfig
    cache: ResultCache
    deadline: Deadline
    predictions: Predictions
    clean: AttackResult

    @property
    def threat(self) -> Threat:
        """What may change."""
        return self.config.threat

    def unattacked(self) -> PerSampleResult:
        """What became of each sample without attack, as an outcome that took no pass."""
        none = torch.zeros(self.context.n, dtype=torch.int64)
        return replace(
            self.clean.per_sample, x_adv=self.context.data.x, forwards=none, backwards=none
        )
