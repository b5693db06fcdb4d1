"""What a recipe says about training; the numbers themselves live in the recipe files."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tempering.attacks.registry import parse_attack


class Settings(BaseModel):
    """The base of recipe sections: frozen, finite, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Optimisation(Settings):
    """Adam and its schedule.

    Attributes:
        batch_size: Samples a step, over all processes.
        learning_rate: Peak step size of Adam.
        schedule: What follows the warm-up: `constant`, or `linear` down to 0 at the last step.
        warmup_steps: Steps over which the learning rate rises.
        weight_decay: Decoupled weight decay.
        averaging: Decay of the moving average of weights; 0 for none.
    """

    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "linear"]
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)
    averaging: float = Field(ge=0, lt=1)


class Mixture(Settings):
    """What a batch is made of, and how its parts are labelled and weighed.

    Attributes:
        clean: Share of a batch that is left as it is.
        noisy: Share that gets Gaussian noise (eq. 2 of the paper).
        adversarial: Share that is attacked, made fresh at every step.
        attacks: Attacks that share the adversarial part equally, as `name:key=value,...`.
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
    attacks: list[str]
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
        for attack in self.attacks:
            parse_attack(attack)
        return self


class Stopping(Settings):
    """When training ends: whichever rule speaks first; a rule left out does not apply.

    Attributes:
        max_iterations: Steps at most.
        rho_at_least: Robustness gain (eq. 6, a fraction) that is enough.
        plateau_rounds: Rounds without a gain of `plateau_gain` in worst-case accuracy.
        plateau_gain: What counts as a gain, a fraction.
        budget_seconds: Time at most; makes a run depend on the machine's speed.
    """

    max_iterations: int = Field(ge=1)
    rho_at_least: float | None = None
    plateau_rounds: int | None = Field(default=None, ge=1)
    plateau_gain: float = Field(default=0.0, ge=0)
    budget_seconds: float | None = Field(default=None, gt=0)


class Plan(Settings):
    """One training: how to optimise, on what mixture, in which rounds, until when.

    Attributes:
        optimisation: Adam and its schedule.
        mixture: What a batch is made of.
        stopping: When to end.
        steps_per_round: Steps between evaluations on validation data.
        clean_floor: Validation accuracy below which a round is rolled back.
    """

    optimisation: Optimisation
    mixture: Mixture
    stopping: Stopping
    steps_per_round: int = Field(ge=1)
    clean_floor: float = Field(ge=0, le=1)
