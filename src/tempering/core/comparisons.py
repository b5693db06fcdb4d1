"""Records of two models on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tempering.core.paired import Paired
from tempering.core.record import Record

Quantity = Literal["clean", "robust", "certified"]
"""What is compared: right without attack, after everything that was tried, or by a proof."""


class Judged(Record):
    """One side of a comparison.

    Attributes:
        model: Its name.
        run: The folder's name; None for an evaluation that writes none.
        weights: Their hash.
        tried: How it was attacked.
        n: Samples it was judged on.
    """

    model: str
    run: str | None
    weights: str
    tried: str
    n: int = Field(ge=1)


class Comparison(Record):
    """Two models on the same samples, first ones of the test data: four counts.

    Attributes:
        quantity: What is counted.
        first: The model that a run is about.
        second: The one that it is compared with.
        threat: What may change.
        both: Samples on which it holds for both models.
        first_only: Samples on which it holds for the first model alone.
        second_only: Samples on which it holds for the second model alone.
        neither: Samples on which it holds for neither.
        data_hash: Of the data that both were judged on.
    """

    kind: Literal["comparison"] = "comparison"
    quantity: Quantity
    first: Judged
    second: Judged
    threat: str
    both: int = Field(ge=0)
    first_only: int = Field(ge=0)
    second_only: int = Field(ge=0)
    neither: int = Field(ge=0)
    data_hash: str

    @property
    def paired(self) -> Paired:
        """The counts, with difference, interval and test."""
        return Paired(self.both, self.first_only, self.second_only, self.neither)


class Contrast(Record):
    """Four counts, and what they say.

    Attributes:
        difference: Accuracy of the first less that of the second, a fraction.
        interval: Its 95 % interval (Newcombe), fractions.
        p_value: Of McNemar's exact two-sided test.
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
        return str(Paired(self.both, self.first_only, self.second_only, self.neither))


class Against(Record):
    """One model beside another one, sample by sample: what `--json` prints.

    Attributes:
        first: The model that was judged.
        second: The one it is compared with.
        threat: What may change.
        clean: Right without attack.
        robust: After everything that was tried on each.
        certified: With a proof; None unless proofs were tried on both, and one succeeded.
        warnings: What a reader must know besides.
    """

    first: Judged
    second: Judged
    threat: str
    clean: Contrast
    robust: Contrast
    certified: Contrast | None = None
    warnings: list[str] = Field(default_factory=list)


def warnings_of(one: Comparison) -> list[str]:
    """What makes a comparison say less than it seems to, in sentences."""
    told = []
    if one.first.tried != one.second.tried:
        told.append(
            f"The models were not attacked alike ({one.first.tried}; {one.second.tried}), so the "
            "robust counts compare attacks as well as models."
        )
    if one.first.n != one.second.n:
        told.append(
            f"One was judged on {one.first.n} samples and the other on {one.second.n}, so only the "
            f"first {one.paired.n} are compared."
        )
    if one.first.weights == one.second.weights:
        told.append("Both have the same weights.")
    return told


def against_of(found: Sequence[Comparison]) -> Against:
    """Comparisons of two models as one block.

    Args:
        found: One a quantity, clean and robust among them.
    """
    by = {one.quantity: one for one in found}
    one = by["robust"]
    return Against(
        first=one.first,
        second=one.second,
        threat=one.threat,
        clean=_contrast(by["clean"]),
        robust=_contrast(one),
        certified=_contrast(by["certified"]) if "certified" in by else None,
        warnings=warnings_of(one),
    )


def _contrast(one: Comparison) -> Contrast:
    paired = one.paired
    return Contrast(
        n=paired.n,
        both=paired.both,
        first_only=paired.first,
        second_only=paired.second,
        neither=paired.neither,
        difference=paired.difference,
        interval=paired.interval,
        p_value=paired.p_value,
    )
