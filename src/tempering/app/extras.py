"""What an evaluation says beside its verdicts: common corruptions, and another model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tempering.app.against import Verdicts, compared, read_verdicts, require_same, verdicts_of
from tempering.app.judgement import Judgement
from tempering.app.result_cache import Entry
from tempering.app.shifting import measure, parse_shifts
from tempering.core.comparisons import against_of
from tempering.core.records import Assessment
from tempering.core.shifts import Shift, shift_summary

Note = Callable[[str, Callable[[], Sequence[Entry]]], list[Entry]]
"""From a name and something to measure to what was measured, now or in a run before."""


def at_once(_name: str, work: Callable[[], Sequence[Entry]]) -> list[Entry]:
    """Keep nothing: measure now."""
    return list(work())


@dataclass(frozen=True, eq=False)
class Extras:
    """What is asked for beside verdicts; it changes none of them.

    Attributes:
        shifts: Names of corruptions.
        other: Of the run that the model is compared with.
    """

    shifts: tuple[str, ...] = ()
    other: Verdicts | None = None

    @classmethod
    def of(cls, job: Judgement, shifts: str | None = None, against: Path | None = None) -> Extras:
        """Check what is asked for, before anything is run.

        Args:
            job: The evaluation, not yet begun.
            shifts: `all` corruptions, or names with commas between.
            against: The folder of an evaluated run.

        Raises:
            RunError: If that folder holds no finished evaluation.
            UsageError: If its data, split, threat or samples are others, or a corruption is
                unknown or lacks its library.
            DataError: If a corruption cannot be made of such images.
        """
        names = () if shifts is None else parse_shifts(shifts, job.context.data)
        other = None if against is None else read_verdicts(against)
        if other is not None:
            require_same(other, job.data, str(job.demand.threat))
        return cls(names, other)

    def add(
        self, job: Judgement, found: Assessment, run: str | None = None, note: Note = at_once
    ) -> Assessment:
        """Add what was asked for to an evaluation's records and result.

        Args:
            job: The evaluation, done; its records grow.
            found: What it found.
            run: The name of its folder; None without one.
            note: Keeps what was measured, for a run that is cut.

        Raises:
            ModelError: If the model does not answer corrupted images with finite logits.
        """
        if self.shifts:
            shifts = self._shifted(job, note)
            job.records += shifts
            found = found.model_copy(update={"shifts": shift_summary(shifts)})
        if self.other is not None:
            comparisons = compared(verdicts_of(job, found, run), self.other)
            job.records += comparisons
            found = found.model_copy(update={"against": against_of(comparisons)})
        return found

    def _shifted(self, job: Judgement, note: Note) -> list[Shift]:
        entries = note(
            f"shifts-{'-'.join(self.shifts)}",
            lambda: [Entry(one) for one in measure(job.context, job.target, self.shifts)],
        )
        return [entry.record for entry in entries if isinstance(entry.record, Shift)]
