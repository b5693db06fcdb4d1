"""Records of accuracy under common corruptions, which nobody chooses against a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tempering.core.record import Cost, Count, Record

NOT_ADVERSARIAL = (
    "common corruptions are not chosen against the model: this is no adversarial robustness"
)


class Shift(Record):
    """One corruption at one severity.

    Attributes:
        subject: Which model was measured.
        corruption: Its name.
        severity: From 1, mild, to 5, severe.
        amount: Of that severity.
        unit: What the amount is.
        clean: Samples that are right as they are.
        correct: Samples that are right when corrupted.
        cost: Of all corruptions together; on the first record alone.
    """

    kind: Literal["shift"] = "shift"
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


class Corrupted(Record):
    """One corruption from mild to severe.

    Attributes:
        unit: What the amounts are.
        amounts: One a severity.
        correct: Samples that are right, one count a severity.
    """

    unit: str
    amounts: list[float]
    correct: list[int]


class ShiftSummary(Record):
    """Accuracy under common corruptions: what `--json` prints.

    Attributes:
        meaning: What these numbers are not.
        n: Samples that every count is over.
        clean_correct: Samples that are right as they are.
        by_corruption: Name -> counts.
        forward: Passes that it took.
        seconds: Time that it took.
    """

    meaning: str = NOT_ADVERSARIAL
    n: int = Field(ge=1)
    clean_correct: int = Field(ge=0)
    by_corruption: dict[str, Corrupted]
    forward: int = Field(ge=0)
    seconds: float = Field(ge=0)


def shift_summary(found: Sequence[Shift]) -> ShiftSummary:
    """Corruptions of one model as one block.

    Args:
        found: At least one, of the same samples.
    """
    names = dict.fromkeys(one.corruption for one in found)
    rows = {
        name: sorted((one for one in found if one.corruption == name), key=lambda one: one.severity)
        for name in names
    }
    return ShiftSummary(
        n=found[0].clean.n,
        clean_correct=found[0].clean.hits,
        by_corruption={
            name: Corrupted(
                unit=row[0].unit,
                amounts=[one.amount for one in row],
                correct=[one.correct.hits for one in row],
            )
            for name, row in rows.items()
        },
        forward=sum(one.cost.forward for one in found),
        seconds=sum(one.cost.seconds for one in found),
    )
