"""Where a job computes, and how many images at a time: what changes no result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tempering.app.python_inputs import as_count
from tempering.core.devices import parse_device
from tempering.core.engine import Engine, start_engine

BATCH_SIZE = 256
"""Images at a time if nothing else is said."""
MOST_AT_A_TIME = 2**31 - 1
"""Largest batch size."""


@dataclass(frozen=True)
class Compute:
    """Where a job computes, and how many images it looks at together.

    The batch size changes memory and time, but no random draw and no rule of decision; in
    float32 rounding may change at most 1 in 1,000 verdicts.

    Attributes:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time in attacks, certificates and predictions; the mini-batches
            of training are settings of the recipe.
    """

    device: Any = "auto"
    batch_size: int = BATCH_SIZE

    def check(self) -> None:
        """Check both settings before anything is run.

        Raises:
            UsageError: If there is no such device here, or the batch size is out of range.
        """
        parse_device(self.device)
        as_count(self.batch_size, "batch_size", 1, MOST_AT_A_TIME)

    def start(self, precision: str = "32-true") -> Engine:
        """Start the engine, after a check of both settings.

        Raises:
            UsageError: If there is no such device here, or the batch size is out of range.
        """
        self.check()
        return start_engine(precision, self.device)
