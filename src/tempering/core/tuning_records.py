"""A search for training settings: its trials, and what each reached on validation data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tempering.core.record import Count, Record

TrialState = Literal["finished", "pruned", "failed", "stopped"]
"""How a trial ended: at the end of its training, by the pruner, by an error, or with the time."""


class Trial(Record):
    """One training with settings of its own.

    Attributes:
        number: From 1 on.
        state: How it ended.
        objective: What was minimized, as recipes write it.
        learning_rate: Peak step size.
        weight_decay: Weight decay.
        suggested: What the sampler chose, by name; empty for the settings of the recipe itself.
        value: Samples of the validation data that withstand the attacks, or are certified, in
            the best round; None if no round was finished.
        clean: Samples predicted right in that round.
        rounds: Fractions of each round that was finished.
        seconds: Time of the trial.
        reason: Why it ended.
    """

    number: int = Field(ge=1)
    state: TrialState
    objective: str
    learning_rate: float
    weight_decay: float
    suggested: dict[str, float | int | str] = Field(default_factory=dict)
    value: Count | None = None
    clean: Count | None = None
    rounds: list[float] = Field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""

    def short(self) -> dict[str, Any]:
        """The trial with fractions instead of counts, for `--json`."""
        return {
            "number": self.number,
            "state": self.state,
            "value": None if self.value is None else self.value.fraction,
            "clean": None if self.clean is None else self.clean.fraction,
            "objective": self.objective,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "reason": self.reason,
        }


class TuningStudy(Record):
    """All trials of a search, and what they share.

    Attributes:
        data: Address of the data.
        data_hash: Of training and test data.
        threat: What attackers may change.
        goal: `robust` or `certified`.
        recipe: Name of the recipe that trials start from.
        model: Name of the network.
        objectives: What was searched over.
        judged_by: Attacks, or methods of certification, in order.
        n: Samples of the validation data.
        seed: Of all draws.
        command: What was called.
        tempering: Version.
        optuna: Version.
        processor: Of the machine.
        threads: Of torch.
        finished: Whether the time or the number of trials is spent.
        importance: Share of each setting in the spread of values; empty with few trials.
        trials: In order.
    """

    data: str
    data_hash: str
    threat: str
    goal: str
    recipe: str
    model: str
    objectives: list[str]
    judged_by: list[str]
    n: int
    seed: int
    command: str
    tempering: str
    optuna: str
    processor: str
    threads: int
    finished: bool = False
    importance: dict[str, float] = Field(default_factory=dict)
    trials: list[Trial] = Field(default_factory=list)

    @property
    def best(self) -> Trial | None:
        """The trial with the highest value, the earliest of several.

        Trials that were stopped or pruned count only where none was finished.
        """
        judged = [trial for trial in self.trials if trial.value is not None]
        whole = [trial for trial in judged if trial.state == "finished"]
        return max(whole or judged, key=lambda trial: (_share(trial), -trial.number), default=None)


def _share(trial: Trial) -> float:
    return 0.0 if trial.value is None else trial.value.fraction
