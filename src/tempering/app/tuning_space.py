"""What `tune` searches: objectives, their hyperparameters, learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tempering.app.recipe import Recipe
from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.training.settings import TrainConfig

DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
BELOW, ABOVE = 8.0, 4.0
"""Learning rates from the recipe's divided by the first to the recipe's times the second."""

ROBUST = ("paper", "pgd", "trades", "mart", "n-fgsm")
CERTIFIED = ("interval", "sabr", "mtl-ibp")
"""Objectives that are searched if none are named."""


@dataclass(frozen=True)
class Range:
    """A hyperparameter and its values.

    Attributes:
        name: Of the objective's parameter.
        low: Smallest value.
        high: Largest value.
        log: Whether values are drawn on a logarithmic scale.
    """

    name: str
    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.low, int)


_STEPS = Range("steps", 2, 10)
RANGES: dict[str, tuple[Range, ...]] = {
    "paper": (Range("alpha", 0.0, 0.5), Range("label_smoothing", 0.0, 0.2)),
    "pgd": (_STEPS,),
    "trades": (Range("beta", 1.0, 12.0, log=True), _STEPS),
    "mart": (Range("lam", 1.0, 10.0, log=True), _STEPS),
    "fgsm-rs": (Range("alpha", 0.8, 1.5),),
    "n-fgsm": (Range("noise", 0.5, 3.0), Range("alpha", 0.7, 1.3)),
    "grad-align": (Range("lam", 0.02, 2.0, log=True),),
    "free": (Range("m", 2, 10),),
    "alp": (Range("lam", 0.1, 2.0, log=True), _STEPS),
    "multi-norm": (_STEPS,),
    "generator": (Range("clean", 0.0, 0.5), Range("learning_rate", 5e-4, 5e-2, log=True)),
    "interval": (Range("kappa", 0.0, 0.9), Range("ramp_end", 0.3, 0.8)),
    "crown-ibp": (Range("kappa", 0.0, 0.9), Range("ramp_end", 0.3, 0.8)),
    "sabr": (Range("share", 0.05, 0.9, log=True), Range("ramp_end", 0.3, 0.8)),
    "mtl-ibp": (Range("alpha", 0.01, 1.0, log=True), Range("ramp_end", 0.3, 0.8)),
    "gaussian-noise": (Range("sigma", 0.05, 0.8, log=True),),
    "smooth-adv": (Range("sigma", 0.05, 0.8, log=True), Range("steps", 1, 5)),
    "standard": (Range("label_smoothing", 0.0, 0.2),),
}
"""Objective -> what is searched of it; the rest stays as the objective or the recipe has it."""


@dataclass(frozen=True)
class Choice:
    """An objective of a search: what is given of it, and what is searched.

    Attributes:
        text: As it was asked for, such as `trades` or `trades:steps=3`.
        ranges: Hyperparameters that the text leaves open.
    """

    text: str
    ranges: tuple[Range, ...] = ()

    def key(self, entry: Range) -> str:
        """The sampler's name of a hyperparameter."""
        return f"{self.text}.{entry.name}"

    def written(self, values: dict[str, float | int]) -> str:
        """The objective as recipes write it.

        Args:
            values: Of the hyperparameters, by name.
        """
        pairs = ",".join(f"{name}={value:.4g}" for name, value in values.items())
        last = self.text.rpartition("+")[2]
        return self.text + ("," if ":" in last else ":") * bool(pairs) + pairs


@dataclass(frozen=True)
class Settings:
    """The settings of a trial.

    Attributes:
        objective: As recipes write it.
        learning_rate: Peak step size.
        weight_decay: Weight decay.
        suggested: What the sampler chose, by its names.
    """

    objective: str
    learning_rate: float
    weight_decay: float
    suggested: dict[str, Any] = field(default_factory=dict)


def choices(objectives: Sequence[str], recipe: Recipe) -> list[Choice]:
    """The objectives of a search, each tried with the threat and the length of the training.

    Args:
        objectives: Such as `trades`, `trades:steps=3` or `awp+trades`.
        recipe: Threat, mixture and length.

    Raises:
        UnknownNameError: If there is no such objective; offers the nearest.
        UsageError: If there is none, one twice, or it does not fit the threat or the length.
    """
    names = [text.strip() for text in objectives]
    if not all(names) or not names or len(set(names)) < len(names):
        raise UsageError(f"objectives {','.join(names) or 'none'}: give each once, as trades,paper")
    hardened = recipe.training.hardened
    made = []
    for text in names:
        with_text: TrainConfig = hardened.model_copy(update={"objective": text})
        value = with_text.objective_value()
        value.require(recipe.threat, hardened.stopping.max_iterations)
        made.append(Choice(text, _open(text)))
    return made


def _open(text: str) -> tuple[Range, ...]:
    """Hyperparameters that an objective's text leaves open, of the innermost one."""
    last = text.rpartition("+")[2]
    name, _, pairs = last.partition(":")
    given = {pair.partition("=")[0].strip() for pair in pairs.split(",")}
    return tuple(entry for entry in RANGES.get(name.strip().lower(), ()) if entry.name not in given)


def own_settings(recipe: Recipe, made: Sequence[Choice]) -> Settings | None:
    """The recipe's own settings, if its objective is among those that are searched."""
    hardened = recipe.training.hardened
    if hardened.objective not in [choice.text for choice in made]:
        return None
    optimisation = hardened.optimisation
    return Settings(hardened.objective, optimisation.learning_rate, optimisation.weight_decay)


def with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """The recipe with the settings of a trial."""
    hardened = recipe.training.hardened
    optimisation = hardened.optimisation.model_copy(
        update={"learning_rate": settings.learning_rate, "weight_decay": settings.weight_decay}
    )
    hardened = hardened.model_copy(
        update={"objective": settings.objective, "optimisation": optimisation}
    )
    training = recipe.training.model_copy(update={"hardened": hardened})
    return recipe.model_copy(update={"training": training})


def judged_by(attack: Attack, recipe: Recipe) -> Recipe:
    """The recipe with an attack before those that rounds are judged by."""
    validation = recipe.training.validation
    attacks = (attack, *validation.attacks)
    validation = validation.model_copy(update={"attacks": attacks})
    training = recipe.training.model_copy(update={"validation": validation})
    return recipe.model_copy(update={"training": training})
