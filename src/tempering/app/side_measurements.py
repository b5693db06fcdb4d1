"""Measurements beside the verdicts: common corruptions, and a comparison with another run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tempering.app.compare import (
    RunVerdicts,
    compare_verdicts,
    read_verdicts,
    require_comparable,
    verdicts_of,
)
from tempering.app.evaluation_setup import EvaluationSetup
from tempering.core.comparisons import summarize_comparison
from tempering.core.corruption_records import CorruptionResult, summarize_corruptions
from tempering.core.records import AnyRecord, Assessment
from tempering.core.threat_text import identify_threat
from tempering.evaluation.corruption_accuracy import measure_corruptions
from tempering.evaluation.corruptions import parse_corruptions
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.result_cache import NoCache, ResultCache


@dataclass(frozen=True, eq=False)
class SideMeasurements:
    """Measurements that do not change verdicts.

    Attributes:
        corruptions: Names of corruptions.
        other: RunVerdicts of the run that the model is compared with.
    """

    corruptions: tuple[str, ...] = ()
    other: RunVerdicts | None = None

    @classmethod
    def of(
        cls, setup: EvaluationSetup, corruptions: str | None = None, other: Path | None = None
    ) -> SideMeasurements:
        """Check what is asked for, before anything is run.

        Args:
            setup: The evaluation, not yet begun.
            corruptions: `all`, or names with commas between.
            other: The folder of an evaluated run.

        Raises:
            RunError: If that folder holds no finished evaluation.
            UsageError: If its data, split, threat or samples are others, or a corruption is
                unknown or lacks its library.
            DataError: If a corruption cannot be made of such images.
        """
        names = () if corruptions is None else parse_corruptions(corruptions, setup.context.data.x)
        verdicts = None if other is None else read_verdicts(other)
        if verdicts is not None:
            require_comparable(
                verdicts, setup.data, identify_threat(setup.config.threat), setup.subset
            )
        return cls(names, verdicts)

    def add(
        self,
        setup: EvaluationSetup,
        result: EvaluationResult,
        assessment: Assessment,
        records: Sequence[AnyRecord],
        *,
        run: str | None = None,
        cache: ResultCache | None = None,
    ) -> tuple[Assessment, list[AnyRecord]]:
        """Add what was asked for to an evaluation's summary and records.

        Args:
            setup: The evaluation.
            result: What became of each sample.
            assessment: Its summary.
            records: Its records.
            run: The name of its folder; None without one.
            cache: Stores results, for a run that is interrupted.

        Raises:
            ModelError: If the model does not answer corrupted images with finite logits.
        """
        added = list(records)
        if self.corruptions:
            results = self.corrupted(setup, cache or NoCache())
            added += results
            assessment = assessment.model_copy(update={"shifts": summarize_corruptions(results)})
        if self.other is not None:
            own = verdicts_of(result, added, assessment, run)
            comparisons = compare_verdicts(own, self.other)
            added += comparisons
            assessment = assessment.model_copy(
                update={"against": summarize_comparison(comparisons)}
            )
        return assessment, added

    def corrupted(self, setup: EvaluationSetup, cache: ResultCache) -> list[CorruptionResult]:
        """Counts under corruptions."""
        work = partial(measure_corruptions, setup.context, setup.target, self.corruptions)
        return cache.get(f"corruptions-{'-'.join(self.corruptions)}", work)
