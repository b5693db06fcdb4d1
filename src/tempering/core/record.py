"""Base of all records, counts with confidence intervals, and costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tempering.core.intervals import wilson

LARGEST = 2**64
"""Whole numbers of records are at most so large, except seeds."""


class Record(BaseModel):
    """Base of all records: frozen, without unknown fields and without values not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_size(cls, values: Any) -> Any:
        """Refuse whole numbers that no float can hold."""
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, int) and abs(value) > LARGEST and key != "seed":
                raise ValueError(f"{key} is a number of more than 64 bits")
        return values


class Count(Record):
    """Hits in n trials.

    Example:
        >>> Count(hits=9, n=10).fraction
        0.9
    """

    hits: int = Field(ge=0)
    n: int = Field(ge=0)

    @model_validator(mode="after")
    def _check(self) -> Count:
        if self.hits > self.n:
            raise ValueError(f"hits {self.hits} of n {self.n}: hits cannot exceed n")
        return self

    @property
    def fraction(self) -> float:
        """Hits / n; 0 if n is 0."""
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval, fractions."""
        return wilson(self.hits, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.fraction:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


class Cost(Record):
    """Passes, each of a single sample, and wall time in seconds."""

    forward: int = Field(default=0, ge=0)
    backward: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            seconds=self.seconds + other.seconds,
        )

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost:
        """Costs added up.

        Example:
            >>> Cost.total([Cost(forward=2), Cost(forward=3, backward=1)]).forward
            5
        """
        return sum(costs, start=cls())
