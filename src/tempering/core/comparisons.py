"""Records of a paired comparison of two models on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tempering.core.paired import PairedCounts
from tempering.core.record import Record

Quantity = Literal["clean", "robust", "certified"]
"""What is compared: correct without attack, robust to every attack run, or certified."""


class ComparedModel(Record):
    """One side of a comparison.

    Attributes:
        model: Name of the model.
        run: Name of the run folder; None for an evaluation without one.
        weights: Hash of the weights.
        tried: How the model was attacked.
        n: Samples it was evaluated on.
    """

    model: str
    run: str | None
    weights: str
    tried: str
    n: int = Field(ge=1)

    def __str__(self) -> str:
        return self.model if self.run is None else f"{self.model} (run {self.run})"


class Comparison(Record):
    """Two models on the same samples of the test data: four counts.

    Attributes:
        quantity: The property that is counted.
        first: The model that this run evaluates.
        second: The model that it is compared with.
        threat: The threat model of both evaluations.
        both: Samples on which the property holds for both models.
        first_only: Samples on which it holds for the first model only.
        second_only: Samples on which it holds for the second model only.
        neither: Samples on which it holds for neither.
        data_hash: Hash of the data of both evaluations.
    """

    kind: Literal["comparison"] = "comparison"
    quantity: Quantity
    first: ComparedModel
    second: ComparedModel
    threat: str
    both: int = Field(ge=0)
    first_only: int = Field(ge=0)
    second_only: int = Field(ge=0)
    neither: int = Field(ge=0)
    data_hash: str

    @property
    def paired(self) -> PairedCounts:
        """The counts with difference, confidence interval and test."""
        return PairedCounts(self.both, self.first_only, self.second_only, self.neither)


class PairedSummary(Record):
    """Four counts with their difference, confidence interval and test.

    Attributes:
        difference: Accuracy of the first less that of the second, a fraction.
        interval: 95 % confidence interval of the difference (Newcombe), fractions.
        p_value: p value of McNemar's exact two-sided test.
    """

    n: int = Field(ge=1)
    both: int = Field(ge=0)
    first_only: int = Field(ge=0)
    second_only: int = Field(ge=0)
    neither: int = Field(ge=0)
    difference: float
    interval: tuple[float, float]
    p_value: float

    def __str__(self) -> str:
        return str(PairedCounts(self.both, self.first_only, self.second_only, self.neither))


class ComparisonSummary(Record):
    """A paired comparison of two models, as `--json` prints it.

    Attributes:
        first: The model that was evaluated.
        second: The model that it is compared with.
        threat: The threat model.
        clean: Correct without attack.
        robust: Robust to every attack that was run on each.
        certified: Certified robust; None unless certification ran on both models and certified
            at least one sample.
        warnings: Reasons why the comparison says less than it seems to.
    """

    first: ComparedModel
    second: ComparedModel
    threat: str
    clean: PairedSummary
    robust: PairedSummary
    certified: PairedSummary | None = None
    warnings: list[str] = Field(default_factory=list)


def comparison_warnings(comparison: Comparison) -> list[str]:
    """Reasons why a comparison says less than it seems to, in sentences."""
    first, second = comparison.first, comparison.second
    warnings = []
    if first.tried != second.tried:
        warnings.append(
            f"The models were attacked differently ({first.tried}; {second.tried}): the robust "
            "counts compare attacks as well as models."
        )
    if first.n != second.n:
        warnings.append(
            f"One model was evaluated on {first.n} samples and the other on {second.n}: only the "
            f"first {comparison.paired.n} are compared."
        )
    if first.weights == second.weights:
        warnings.append("Both models have the same weights.")
    return warnings


def summarize_comparison(comparisons: Sequence[Comparison]) -> ComparisonSummary:
    """Summarize the comparisons of two models.

    Args:
        comparisons: One per quantity, with clean and robust among them.
    """
    by_quantity = {comparison.quantity: comparison for comparison in comparisons}
    robust = by_quantity["robust"]
    return ComparisonSummary(
        first=robust.first,
        second=robust.second,
        threat=robust.threat,
        clean=_paired_summary(by_quantity["clean"]),
        robust=_paired_summary(robust),
        certified=_paired_summary(by_quantity["certified"]) if "certified" in by_quantity else None,
        warnings=comparison_warnings(robust),
    )


def _paired_summary(comparison: Comparison) -> PairedSummary:
    paired = comparison.paired
    return PairedSummary(
        n=paired.n,
        both=paired.both,
        first_only=paired.first,
        second_only=paired.second,
        neither=paired.neither,
        difference=paired.difference,
        interval=paired.interval,
        p_value=paired.p_value,
    )
