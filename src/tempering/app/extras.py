"""What an evaluation says beside its verdicts: how the model compares with another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tempering.app.against import Verdicts, compared, read_verdicts, require_same, verdicts_of
from tempering.app.judgement import Judgement
from tempering.core.comparisons import against_of
from tempering.core.records import Assessment


@dataclass(frozen=True, eq=False)
class Extras:
    """What is asked for beside verdicts; it changes none of them.

    Attributes:
        other: Of the run that the model is compared with.
    """

    other: Verdicts | None = None

    @classmethod
    def of(cls, job: Judgement, against: Path | None = None) -> Extras:
        """Check what is asked for, before anything is run.

        Args:
            job: The evaluation, not yet begun.
            against: The folder of an evaluated run.

        Raises:
            RunError: If that folder holds no finished evaluation.
            UsageError: If its data, split, threat or samples are others.
        """
        other = None if against is None else read_verdicts(against)
        if other is not None:
            require_same(other, job.data, str(job.demand.threat))
        return cls(other)

    def add(self, job: Judgement, found: Assessment, run: str | None = None) -> Assessment:
        """Add what was asked for to an evaluation's records and result.

        Args:
            job: The evaluation, done; its records grow.
            found: What it found.
            run: The name of its folder; None without one.
        """
        if self.other is None:
            return found
        comparisons = compared(verdicts_of(job, found, run), self.other)
        job.records += comparisons
        return found.model_copy(update={"against": against_of(comparisons)})
