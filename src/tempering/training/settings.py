"""What a recipe says about training; the numbers themselves live in the recipe files."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tempering.attacks.field import AttackField
from tempering.core.threats import Threat
from tempering.training.averaging import EMA, SWA, Averaging
from tempering.training.batches import Augment
from tempering.training.objective import Objective
from tempering.training.objectives.registry import parse_objective
from tempering.training.optimizers import LARGEST, OPTIMIZERS, SGD, Optimizer
from tempering.training.schedules import SCHEDULES, Piecewise, Schedule, Warmup
from tempering.training.step_values import StepConfig
from tempering.training.stopping import (
    AnyOf,
    Budget,
    GainAtLeast,
    MaxIterations,
    Plateau,
    StopRule,
)


class Settings(BaseModel):
    """The base of recipe sections: frozen, finite, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Optimisation(Settings):
    """The optimizer and its schedule.

    Attributes:
        batch_size: Samples a step, over all processes.
        learning_rate: Peak step size.
        optimizer: `adamw`, `adam` or `sgd`.
        momentum: Of `sgd`.
        schedule: What follows the warm-up: `constant`, `linear` or `cosine` down to 0 at the
            last step, or `piecewise`.
        milestones: Shares of the training at which `piecewise` divides the rate by 10.
        warmup_steps: Steps over which the learning rate rises.
        weight_decay: Weight decay.
        averaging: Decay of the moving average of weights; 0 for none.
        swa_start: Share of the training after which the mean of all weights is taken instead.
        swa_every: Steps between weights of that mean.
        accumulation: Batches whose gradients are averaged for one update.
    """

    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=LARGEST)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["constant", "linear", "cosine", "piecewise"]
    milestones: tuple[float, ...] = (0.5, 0.75)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0, le=LARGEST)
    averaging: float = Field(ge=0, lt=1)
    swa_start: float | None = Field(default=None, ge=0, lt=1)
    swa_every: int = Field(default=1, ge=1)
    accumulation: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Optimisation:
        _ = Piecewise(self.milestones)
        if self.swa_start is not None and self.averaging > 0:
            raise ValueError(
                f"swa_start = {self.swa_start:g} beside averaging = {self.averaging:g}: "
                "set averaging to 0, or leave swa_start out"
            )
        return self

    def averaging_value(self) -> Averaging:
        """The average of the weights as a value."""
        if self.swa_start is not None:
            return SWA(self.swa_start, self.swa_every)
        return EMA(self.averaging)

    def optimizer_value(self) -> Optimizer:
        """The optimizer as a value."""
        if self.optimizer == "sgd":
            return SGD(self.learning_rate, self.weight_decay, self.momentum)
        return OPTIMIZERS[self.optimizer](self.learning_rate, self.weight_decay)

    def schedule_value(self) -> Schedule:
        """The schedule as a value."""
        then = SCHEDULES[self.schedule]
        return Warmup(
            self.warmup_steps, Piecewise(self.milestones) if self.schedule == "piecewise" else then
        )


class Mixture(Settings):
    """What the objective `paper` makes of a batch, and how it labels and weighs the parts.

    Other objectives take those values that they have a parameter for, such as
    `eps_warmup_steps`, unless they are given.

    Attributes:
        clean: Share of a batch that is left as it is.
        noisy: Share that gets Gaussian noise (eq. 2 of the paper).
        adversarial: Share that is attacked, made fresh at every step.
        attacks: Attacks that share the adversarial part equally; in files `name:key=value,...`.
        sigma: Standard deviation of the noise, in units of [0, 1].
        alpha: Weight of the loss on clean and noisy samples; the rest is adversarial.
        label_smoothing: Share of a label spread over all classes.
        lam_max: Share of an adversarial sample's label that goes to the adversarial
            class at full perturbation.
        eps_warmup_steps: Steps over which eps grows to the threat's.
    """

    clean: float = Field(ge=0, le=1)
    noisy: float = Field(ge=0, le=1)
    adversarial: float = Field(ge=0, le=1)
    attacks: tuple[AttackField, ...]
    sigma: float = Field(ge=0)
    alpha: float = Field(ge=0, le=1)
    label_smoothing: float = Field(ge=0, lt=1)
    lam_max: float = Field(ge=0, le=1)
    eps_warmup_steps: int = Field(ge=0)

    @model_validator(mode="after")
    def _check(self) -> Mixture:
        total = self.clean + self.noisy + self.adversarial
        if not math.isclose(total, 1.0, abs_tol=0.01):
            raise ValueError(f"shares clean + noisy + adversarial = {total:g}: let them sum to 1")
        if self.adversarial > 0 and not self.attacks:
            raise ValueError("attacks = []: name at least one, such as 'pgd:steps=5'")
        return self


class Stopping(Settings):
    """When training ends: at the first rule that applies; a rule left out never does.

    Attributes:
        max_iterations: Steps at most.
        gain_at_least: Gain in worst-case accuracy over the starting model that is enough, a
            fraction.
        plateau_rounds: Rounds without a gain of `plateau_gain` in worst-case accuracy.
        plateau_gain: What counts as a gain, a fraction.
        budget_seconds: Time at most; makes a run depend on the machine's speed.
    """

    max_iterations: int = Field(ge=1)
    gain_at_least: float | None = None
    plateau_rounds: int | None = Field(default=None, ge=1)
    plateau_gain: float = Field(default=0.0, ge=0)
    budget_seconds: float | None = Field(default=None, gt=0)

    def rule(self) -> AnyOf:
        """The stop rule that these settings ask for."""
        rules: list[StopRule] = []
        if self.gain_at_least is not None:
            rules.append(GainAtLeast(self.gain_at_least))
        if self.plateau_rounds is not None:
            rules.append(Plateau(self.plateau_rounds, self.plateau_gain))
        rules.append(MaxIterations(self.max_iterations))
        if self.budget_seconds is not None:
            rules.append(Budget(self.budget_seconds))
        return AnyOf(tuple(rules))


class TrainConfig(Settings):
    """One training: objective, optimizer, rounds, and when it ends.

    Attributes:
        objective: What is minimized, as `name:key=value,...` or `file.py:name:key=value,...`.
        optimisation: The optimizer and its schedule.
        mixture: Parameters of the objective `paper`; None leaves them at their defaults.
        stopping: When to end.
        steps_per_round: Steps between judgments on validation data.
        clean_floor: Validation accuracy below which a round is rolled back.
        guard_every: Steps between looks at held-back samples for catastrophic overfitting and
            collapse; 0 for none.
    """

    objective: str = "paper"
    optimisation: Optimisation
    mixture: Mixture | None = None
    stopping: Stopping
    steps_per_round: int = Field(ge=1)
    clean_floor: float = Field(ge=0, le=1)
    guard_every: int = Field(default=50, ge=0)

    def objective_value(self) -> Objective:
        """The objective as a value.

        Raises:
            UsageError: If it is unknown, or a parameter makes no sense.
        """
        return parse_objective(self.objective, dict(self.mixture) if self.mixture else {})

    def with_max_iterations(self, steps: int) -> TrainConfig:
        """The same training with another number of steps at most."""
        stopping = self.stopping.model_copy(update={"max_iterations": steps})
        return self.model_copy(update={"stopping": stopping})

    def update_config(self, threat: Threat, seed: int, augment: Augment | None) -> StepConfig:
        """How weights are updated at each step."""
        return StepConfig(
            threat=threat,
            batch_size=self.optimisation.batch_size,
            seed=seed,
            optimizer=self.optimisation.optimizer_value(),
            schedule=self.optimisation.schedule_value(),
            averaging=self.optimisation.averaging_value(),
            accumulation=self.optimisation.accumulation,
            total_steps=self.stopping.max_iterations,
            augment=augment,
        )
