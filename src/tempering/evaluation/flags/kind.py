"""A kind of flag: what all flags of one name have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.naming import sample_name
from tempering.core.records import Flag


@dataclass(frozen=True)
class Kind:
    """A flag that is not raised yet.

    Attributes:
        name: What it is called in records.
        meaning: What it says of a number, the same every time.
        remedy: What to do about it.
        masks: Whether it says that attacks which follow gradients are misled.

    Example:
        >>> Kind("slow", "it takes long", "wait").raised("2 of 3 samples").evidence
        '2 of 3 samples'
    """

    name: str
    meaning: str
    remedy: str
    masks: bool = False

    def raised(
        self,
        evidence: str,
        samples: Tensor | None = None,
        *,
        remedy: str | None = None,
    ) -> Flag:
        """The flag, with what was seen.

        Args:
            evidence: What was seen, in counts.
            samples: Samples on which it was seen, as keys of their ids or as rows, shape (m,),
                int64; the flag holds their ids where they are known.
            remedy: What to do, where more can be said than always.
        """
        rows = range(0 if samples is None else len(samples))
        return Flag(
            name=self.name,
            meaning=self.meaning,
            remedy=remedy or self.remedy,
            evidence=evidence,
            samples=[sample_name(samples, row) for row in rows],
        )


def numbers(samples: Tensor) -> Tensor:
    """Row numbers that are true, shape (m,), int64, on the CPU."""
    return torch.nonzero(samples)[:, 0].cpu()
