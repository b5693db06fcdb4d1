"""What a training step costs, in passes of a sample."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Forward and backward passes of the network, for each sample of a batch.

    Attributes:
        forward: Forward passes.
        backward: Backward passes.

    Example:
        >>> Cost(1, 1).plus(Cost(2, 2).times(0.5))
        Cost(forward=2.0, backward=2.0)
    """

    forward: float = 0
    backward: float = 0

    def plus(self, other: Cost) -> Cost:
        """The sum of both."""
        return Cost(self.forward + other.forward, self.backward + other.backward)

    def times(self, factor: float) -> Cost:
        """So many times this."""
        return Cost(self.forward * factor, self.backward * factor)
