"""Stop rules as values: when training ends, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tempering.core.records import Round

REJECTED = ("rolled back", "below floor")
"""Outcomes of rounds whose clean accuracy was below the floor."""


@dataclass(frozen=True)
class TrainProgress:
    """How far a training has come.

    Attributes:
        steps: Mini-batch steps done.
        seconds: Time spent on this training, resumed parts included.
        rounds: Finished rounds, oldest first.
        baseline: Worst-case accuracy of the starting model on validation data, a fraction.
    """

    steps: int
    seconds: float
    rounds: Sequence[Round]
    baseline: float = 0.0


class StopRule(Protocol):
    """Says why to stop, or nothing."""

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        ...


@dataclass(frozen=True)
class MaxIterations:
    """Stop after so many mini-batch steps.

    Example:
        >>> MaxIterations(10).reason(TrainProgress(10, 0.0, []))
        'MaxIterations(10): 10 steps done'
    """

    steps: int

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        if progress.steps < self.steps:
            return None
        return f"MaxIterations({self.steps}): {progress.steps} steps done"


@dataclass(frozen=True)
class GainAtLeast:
    """Stop once worst-case accuracy has gained enough over the starting model."""

    gain: float

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        if not progress.rounds or progress.rounds[-1].outcome in REJECTED:
            return None
        gain = progress.rounds[-1].worst.fraction - progress.baseline
        if gain < self.gain:
            return None
        return f"GainAtLeast({self.gain:g}): {gain:.3f} gained over the starting model"


@dataclass(frozen=True)
class Plateau:
    """Stop after so many rounds in which worst-case accuracy did not grow by `gain`.

    Rounds below the clean floor count only once a round was accepted.
    """

    rounds: int
    gain: float

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        best, since, rejected = -1.0, 0, 0
        for round_ in progress.rounds:
            worst = round_.worst.fraction
            if round_.outcome not in REJECTED and worst > best + self.gain:
                best, since, rejected = worst, 0, 0
            else:
                since += 1
                rejected += round_.outcome in REJECTED
        if since < self.rounds or best < 0:
            return None
        return (
            f"Plateau({self.rounds}, {self.gain:g}): {since} rounds without a gain "
            f"over {100 * best:.1f} % worst case on validation{_floor(rejected)}"
        )


def _floor(rejected: int) -> str:
    """How many rounds were undone since their clean accuracy was too low, if any were."""
    return f", {rejected} of them below the floor of clean accuracy" if rejected else ""


@dataclass(frozen=True)
class Budget:
    """Stop when the time is spent."""

    seconds: float

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        if progress.seconds < self.seconds:
            return None
        return f"Budget({self.seconds:g} s): {progress.seconds:.0f} s spent"


@dataclass(frozen=True)
class AnyOf:
    """Stop as soon as one of several rules says so; the first one gives the reason."""

    rules: tuple[StopRule, ...]

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        return next(filter(None, (rule.reason(progress) for rule in self.rules)), None)
