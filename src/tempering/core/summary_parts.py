"""Parts of the summary of a run: bounds, attacks, both models, stages and their cost."""

from __future__ import annotations

from pydantic import Field

from tempering.core.record import Count, Record


class Bounds(Record):
    """Bounds of robust accuracy, as fractions.

    Attributes:
        lower: Certified accuracy.
        upper: Accuracy under all attacks, worst case per sample.
        interval: 95 % Wilson interval of `upper`.
    """

    lower: float
    upper: float
    interval: tuple[float, float]


class AttackSummary(Record):
    """Robust accuracy under one attack, as fractions; None if it was not measured."""

    before: float | None = None
    after: float | None = None
    stale: float | None = None
    graybox: float | None = None


class BeforeAfter(Record):
    """The undefended and the hardened model on the same samples.

    Attributes:
        clean_before: Right without attack, undefended.
        clean_after: Right without attack, hardened.
        robust_before: Right under every white-box attack that ran on both models, undefended.
        robust_after: The same, hardened; `robust_accuracy` counts further attacks.
    """

    clean_before: Count
    clean_after: Count
    robust_before: Count
    robust_after: Count


class PassCounts(Record):
    """Passes through a model, each of a single sample."""

    forward: int = Field(ge=0)
    backward: int = Field(ge=0)


class StageResult(Record):
    """One stage of a cascade: robust samples that remain after it, and its cost."""

    survivors: int = Field(ge=0)
    passes: PassCounts
    seconds: float = Field(ge=0)
