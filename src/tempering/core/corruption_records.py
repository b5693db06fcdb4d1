"""Records of accuracy under common corruptions, which are not adversarial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tempering.core.record import Cost, Count, Record

NOT_ADVERSARIAL = (
    "accuracy under common corruptions is not adversarial robustness: "
    "the corruptions are not optimised against the model"
)


class CorruptionResult(Record):
    """Accuracy under one corruption at one severity.

    Attributes:
        kind: `corruption`; `shift` in runs of earlier versions.
        subject: Which model was measured.
        corruption: Name of the corruption.
        severity: From 1 (mild) to 5 (severe).
        amount: Strength at this severity, in `unit`.
        unit: Meaning of the amount.
        clean: Samples classified correctly without the corruption.
        correct: Samples classified correctly under the corruption.
        cost: Cost of all corruptions together, on the first record only.
    """

    kind: Literal["corruption", "shift"] = "corruption"
    subject: str
    corruption: str
    severity: int = Field(ge=1, le=5)
    amount: float
    unit: str
    clean: Count
    correct: Count
    cost: Cost = Cost()
    seed: int
    weights: str
    data_hash: str


class CorruptionCounts(Record):
    """Correct samples under one corruption, by severity.

    Attributes:
        unit: Meaning of the amounts.
        amounts: Strength at each severity.
        correct: Samples classified correctly at each severity.
    """

    unit: str
    amounts: list[float]
    correct: list[int]


class CorruptionSummary(Record):
    """Accuracy under common corruptions, as `--json` prints it.

    Attributes:
        meaning: A note that these numbers are not adversarial robustness.
        n: Number of samples behind every count.
        clean_correct: Samples classified correctly without corruption.
        by_corruption: Corruption name -> counts.
        forward: Forward passes of single samples.
        seconds: Wall time.
    """

    meaning: str = NOT_ADVERSARIAL
    n: int = Field(ge=1)
    clean_correct: int = Field(ge=0)
    by_corruption: dict[str, CorruptionCounts]
    forward: int = Field(ge=0)
    seconds: float = Field(ge=0)


def by_severity(
    results: Sequence[CorruptionResult],
) -> dict[str, list[CorruptionResult]]:
    """Group results by corruption, in order of first appearance, mild severities first."""
    names = dict.fromkeys(result.corruption for result in results)
    return {
        name: sorted(
            (result for result in results if result.corruption == name),
            key=lambda result: result.severity,
        )
        for name in names
    }


def summarize_corruptions(results: Sequence[CorruptionResult]) -> CorruptionSummary:
    """Summarize the corruption results of one model.

    Args:
        results: At least one, all on the same samples.
    """
    return CorruptionSummary(
        n=results[0].clean.n,
        clean_correct=results[0].clean.hits,
        by_corruption={
            name: CorruptionCounts(
                unit=row[0].unit,
                amounts=[result.amount for result in row],
                correct=[result.correct.hits for result in row],
            )
            for name, row in by_severity(results).items()
        },
        forward=sum(result.cost.forward for result in results),
        seconds=sum(result.cost.seconds for result in results),
    )
