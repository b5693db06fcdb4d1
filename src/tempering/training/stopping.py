"""Stop rules as values: when iterative retraining ends, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tempering.core.records import Round
from tempering.training.settings import Stopping


@dataclass(frozen=True)
class Standing:
    """How far a training is.

    Attributes:
        steps: Mini-batch steps done.
        seconds: Time spent on this training, resumed parts included.
        rounds: Finished rounds, oldest first.
    """

    steps: int
    seconds: float
    rounds: Sequence[Round]


class StopRule(Protocol):
    """Says why to stop, or nothing."""

    def reason(self, standing: Standing) -> str | None:
        """Why to stop now; None to go on."""
        ...


@dataclass(frozen=True)
class MaxIterations:
    """Stop after so many mini-batch steps (the paper's k_max = 3000).

    Example:
        >>> MaxIterations(10).reason(Standing(10, 0.0, []))
        'MaxIterations(10): 10 steps done'
    """

    steps: int

    def reason(self, standing: Standing) -> str | None:
        """Why to stop now; None to go on."""
        if standing.steps < self.steps:
            return None
        return f"MaxIterations({self.steps}): {standing.steps} steps done"


@dataclass(frozen=True)
class RhoAtLeast:
    """Stop once robustness has grown enough (the paper's rho >= 0.1)."""

    rho: float

    def reason(self, standing: Standing) -> str | None:
        """Why to stop now; None to go on."""
        if not standing.rounds or standing.rounds[-1].outcome == "rolled back":
            return None
        rho = standing.rounds[-1].rho
        return f"RhoAtLeast({self.rho:g}): rho is {rho:.3f}" if rho >= self.rho else None


@dataclass(frozen=True)
class Plateau:
    """Stop after so many rounds in which worst-case accuracy did not grow by `gain`."""

    rounds: int
    gain: float

    def reason(self, standing: Standing) -> str | None:
        """Why to stop now; None to go on."""
        best, since = -1.0, 0
        for round_ in standing.rounds:
            worst = round_.worst.fraction
            if round_.outcome != "rolled back" and worst > best + self.gain:
                best, since = worst, 0
            else:
                since += 1
        if since < self.rounds:
            return None
        return (
            f"Plateau({self.rounds}, {self.gain:g}): {since} rounds without a gain "
            f"over {100 * best:.1f} % worst case on validation"
        )


@dataclass(frozen=True)
class Budget:
    """Stop when the time is spent."""

    seconds: float

    def reason(self, standing: Standing) -> str | None:
        """Why to stop now; None to go on."""
        if standing.seconds < self.seconds:
            return None
        return f"Budget({self.seconds:g} s): {standing.seconds:.0f} s spent"


@dataclass(frozen=True)
class AnyOf:
    """Stop as soon as one of several rules says so; the first one gives the reason."""

    rules: tuple[StopRule, ...]

    def reason(self, standing: Standing) -> str | None:
        """Why to stop now; None to go on."""
        return next(filter(None, (rule.reason(standing) for rule in self.rules)), None)


def stop_rule(settings: Stopping) -> AnyOf:
    """The rule that a recipe asks for."""
    rules: list[StopRule] = []
    if settings.rho_at_least is not None:
        rules.append(RhoAtLeast(settings.rho_at_least))
    if settings.plateau_rounds is not None:
        rules.append(Plateau(settings.plateau_rounds, settings.plateau_gain))
    rules.append(MaxIterations(settings.max_iterations))
    if settings.budget_seconds is not None:
        rules.append(Budget(settings.budget_seconds))
    return AnyOf(tuple(rules))
