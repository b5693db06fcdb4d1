"""What all flags of one name have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.naming import sample_name
from tempering.core.records import Flag


@dataclass(frozen=True)
class FlagKind:
    """A kind of flag.

    Attributes:
        name: Name in records.
        meaning: Why the number cannot be trusted.
        remedy: What to do about it.
        masks: Whether it is evidence of gradient masking. An evaluation then adds attacks with
            an adaptive backward and attacks without gradients.

    Example:
        >>> FlagKind("slow", "it takes long", "wait").raised("2 of 3 samples").evidence
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
        """Create a flag of this kind.

        Args:
            evidence: What was observed, in counts.
            samples: The samples concerned, as keys of their ids or as rows, shape (m,), int64;
                the flag contains their ids if they are known.
            remedy: A more specific remedy than that of the kind.
        """
        rows = range(0 if samples is None else len(samples))
        return Flag(
            name=self.name,
            meaning=self.meaning,
            remedy=remedy or self.remedy,
            evidence=evidence,
            samples=[sample_name(samples, row) for row in rows],
        )


def row_numbers(mask: Tensor) -> Tensor:
    """Rows where a mask is true, shape (m,), int64, on the CPU."""
    return torch.nonzero(mask)[:, 0].cpu()
