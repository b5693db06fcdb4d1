"""What a scan of training data gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tempering.poisoning.features import Features


@dataclass(frozen=True, eq=False)
class ScanScores:
    """Scores of a scan.

    Attributes:
        score: Of each sample, higher where it is more suspect, shape (n,), finite float32.
        reason: From the row of a sample to what is suspect about it, in words.
        summary: What was found in the data as a whole, in words; empty if nothing is to say.
        certain: Of which samples the reason is a fact, and is said whatever the scan weighs, shape
            (n,), bool; None of none.
    """

    score: Tensor
    reason: Callable[[int], str]
    summary: str = ""
    certain: Tensor | None = None


class Scan(Protocol):
    """A scan: from features of labelled data to scores."""

    def __call__(self, features: Features) -> ScanScores:
        """Score all samples."""
        ...
