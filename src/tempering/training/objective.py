"""What a training objective is: a frozen value, from a model and a batch to a loss a sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import TemperingError, UsageError
from tempering.core.python_values import plain
from tempering.core.random import RandomStreams
from tempering.core.threat_text import identify_threat
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.training.cost import Cost

InnerMaximization = Literal["none", "attack", "own"]
"""Who makes adversarial samples: nobody, attacks, or the objective by its own maximization."""


@dataclass(frozen=True, eq=False)
class Batch:
    """This process's part of a mini-batch.

    Attributes:
        x: Clean images in [0, 1], augmented, shape (n, c, h, w), float32.
        y: True classes, shape (n,), int64.
        targets: Soft labels over the model's outputs, shape (n, outputs); rows sum to 1.
        weights: Loss weights, shape (n,); they sum to 1 over all processes.
        threat: What an attacker may change at this step: eps is ramped up by the objective.
        full_threat: What an attacker may change at the end of the ramp.
        streams: One random stream a sample, keyed by its id and different in every epoch.
        rows: Row numbers within the whole mini-batch of all processes, shape (n,), int64.
        size: Samples in the whole mini-batch.
        step: Steps done before this one.
        steps: Steps of the whole training, to which ramps refer.
        classes: Classes of the data.
        flag: Number of the adversarial class; None if the model has none.
        attack_model: A frozen copy of the current model in evaluation mode, to attack; None
            if the objective declares that it makes no adversarial samples.
        x_adv: Perturbed copies of `x`; None if the objective makes none.
        samples: Rows of the training data that these samples are, shape (n,), int64.
        memory: What the objective keeps of every sample of the data: name -> shape (n of the
            data,), float32, NaN where nothing was kept yet.
        carried: What the objective's `carry` returned at the step before; empty at first.
    """

    x: Tensor
    y: Tensor
    targets: Tensor
    weights: Tensor
    threat: Threat
    full_threat: Threat
    streams: RandomStreams
    rows: Tensor
    size: int
    step: int
    steps: int
    classes: int
    flag: int | None = None
    attack_model: nn.Module | None = None
    x_adv: Tensor | None = None
    samples: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    carried: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Outputs of the model."""
        return self.targets.shape[1]

    @property
    def perturbed(self) -> Tensor:
        """`x_adv`, where the objective made it.

        Raises:
            TemperingError: If it did not.
        """
        if self.x_adv is None:
            raise TemperingError("the batch has no x_adv: call the objective's perturb first")
        return self.x_adv

    @property
    def model(self) -> nn.Module:
        """`attack_model`, where the objective declares that it wants one.

        Raises:
            UsageError: If it does not.
        """
        if self.attack_model is None:
            raise UsageError(
                "the objective attacks but declares inner_maximization = 'none': "
                "declare 'attack' or 'own'"
            )
        return self.attack_model

    def attack(self, attack: Attack, rows: Tensor | None = None, number: int = 0) -> Tensor:
        """Make adversarial samples against the current weights.

        Args:
            attack: The attack; it works within `threat`.
            rows: Which rows to attack, shape (k,), int64; None for all.
            number: Key of the attack's random draws: give each attack of an objective its own.

        Returns:
            x_adv of these rows, shape (k, c, h, w).
        """
        every = slice(None) if rows is None else rows
        return attack(
            self.model,
            self.x[every],
            self.y[every],
            self.threat,
            random=self.streams[every].derive("attack", number),
            batch_size=max(1, self.size),
        )

    def under(self, threat: Threat) -> Batch:
        """The same batch under another threat."""
        return replace(self, threat=threat)

    def require_one_process(self, name: str) -> None:
        """Refuse a batch that several processes share.

        Raises:
            UsageError: Naming the objective.
        """
        if len(self.y) != self.size:
            raise UsageError(f"{name} trains in one process: start it without torchrun")

    def with_x_adv(self, x_adv: Tensor) -> Batch:
        """The same batch with perturbed copies."""
        return replace(self, x_adv=x_adv.detach())


@dataclass(frozen=True, eq=False)
class Losses:
    """What an objective returns.

    Attributes:
        per_sample: Loss of each sample, shape (n,), float, with its gradient.
        logits: Outputs that training accuracy is counted on, shape (n, outputs).
        scalars: What to log beside the loss: name -> mean over the batch.
        remembered: What to keep of these samples until later steps, under names that the
            objective's `memory` declares: name -> shape (n,).
    """

    per_sample: Tensor
    logits: Tensor
    scalars: Mapping[str, Tensor] = field(default_factory=dict)
    remembered: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective(ABC):
    """A training objective: hyperparameters that compare, print and go into records.

    A subclass is one file: `perturb` makes `x_adv` where the objective wants some, and
    `__call__` returns the losses. The loop, the checkpoints and `train_steps` need no change.

    Attributes:
        name: Canonical name, the same in registry, recipes and records.
        source: Author and year.
        inner_maximization: Who makes adversarial samples: `none`, `attack` or `own`; with `none`
            batches bring no `attack_model`.
        needs_undefended: Whether it needs a model that was trained without a defense.
        single_samples: Whether the loss of a sample can be computed from that sample alone.

    Example:
        >>> @dataclass(frozen=True)
        ... class Margin(Objective):
        ...     name = "margin"
        ...     def __call__(self, model, batch):
        ...         logits = model(batch.x)
        ...         own = logits.gather(1, batch.y[:, None])
        ...         return Losses((1 + logits - own).clamp_min(0).mean(1), logits.detach())
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""
    inner_maximization: ClassVar[InnerMaximization] = "none"
    needs_undefended: ClassVar[bool] = False
    single_samples: ClassVar[bool] = True

    def ramp(self, step: int, steps: int) -> float:  # noqa: ARG002 - subclasses use them
        """The share of the threat's eps that is in force at a step, in [0, 1].

        Args:
            step: Steps done before this one.
            steps: Steps of the whole training.
        """
        return 1.0

    def memory(self) -> tuple[str, ...]:
        """Names of the numbers that it keeps of each sample from step to step.

        They are given in `Losses.remembered`, read from `Batch.memory`, known by the samples' ids
        and saved in checkpoints.
        """
        return ()

    def replays(self) -> int:
        """Steps for which each batch is used before the next one."""
        return 1

    def carry(self, batch: Batch) -> Mapping[str, Tensor]:
        """What the next step is given as `Batch.carried`; it is saved in checkpoints.

        Args:
            batch: What `perturb` returned, after the backward pass.
        """
        return batch.carried

    def initialise(self, model: nn.Module, seed: int) -> None:  # noqa: ARG002
        """Set the weights with which a training from its first step begins, in place.

        Args:
            model: The network; left as it is by most objectives.
            seed: Key of the draws.
        """
        return

    def multi_step(self) -> Objective | None:
        """What takes its place if it overfits to its single step; None if it has more steps."""
        return None

    def certifies(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor | None:  # noqa: ARG002
        """Which samples the bounds that it trains certify, shape (n,); None if it trains none.

        Args:
            model: The network, in evaluation mode.
            x: Images in [0, 1], shape (n, c, h, w).
            y: True classes, shape (n,), int64.
            threat: What an attacker may change.
        """
        return None

    def inner_passes(self) -> Cost:
        """Passes that `perturb` makes, for each sample of a batch."""
        return Cost()

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """Passes of the update itself, for each sample of a batch.

        The bounds of a box count as two passes, as they cost: center and radius.

        Args:
            outputs: Outputs of the network; a backward bound of each costs one pass.
        """
        return Cost(1, 1)

    def perturb(self, batch: Batch) -> Batch:
        """The batch with what the objective needs beside clean images, without gradients."""
        return batch

    @abstractmethod
    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The losses of a batch.

        Args:
            model: The network in training mode, from images in [0, 1] to logits.
            batch: What `perturb` returned.
        """

    def prepare(
        self,
        data: Dataset,
        undefended: nn.Module | None,  # noqa: ARG002 - subclasses use them
        threat: Threat,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> tuple[Dataset, Objective]:
        """What is done to the data once, before training.

        Args:
            data: Training data.
            undefended: A model that was trained without a defense.
            threat: What an attacker may change.
            seed: Key of all draws.

        Returns:
            The data to train on, and the objective to train with.
        """
        return data, self

    def require(self, threat: Threat, steps: int) -> None:  # noqa: ARG002
        """Refuse a threat or a length of training that the objective cannot work with.

        Args:
            threat: What an attacker may change.
            steps: Steps of the whole training.

        Raises:
            UsageError: Naming the value, and what would be right.
        """
        return

    def require_model(self, model: nn.Module) -> None:  # noqa: ARG002
        """Refuse a network that the objective cannot work with.

        Raises:
            ModelError: Naming the layer.
        """
        return

    def require_data(self, data: Dataset) -> None:  # noqa: ARG002
        """Refuse training data that the objective cannot work with, by a `ModelError`."""
        return

    def config(self) -> dict[str, Any]:
        """Hyperparameters for the record."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {"name": self.name} | {key: _plain(value) for key, value in values.items()}

    def spec(self) -> str:
        """The objective as people write it, all parameters but attacks named."""
        pairs = [
            f"{key}={_text(value)}"
            for key, value in self.config().items()
            if hasattr(self, key) and key != "name" and not isinstance(value, list | dict)
        ]
        return self.name + (":" + ",".join(pairs) if pairs else "")


class Warmup(Objective):
    """The base of objectives under which eps grows linearly over the field `eps_warmup_steps`."""

    eps_warmup_steps: int

    def __post_init__(self) -> None:
        require_count(self.name, "eps_warmup_steps", self.eps_warmup_steps, 0)

    def ramp(self, step: int, steps: int) -> float:  # noqa: ARG002
        """Linear; 1 from step `eps_warmup_steps` on."""
        return min(1.0, (step + 1) / max(1, self.eps_warmup_steps))

    def require(self, threat: Threat, steps: int) -> None:  # noqa: ARG002
        """The warm-up ends before training does."""
        if self.eps_warmup_steps > steps:
            raise UsageError(
                f"{self.name}: eps_warmup_steps = {self.eps_warmup_steps} in a training of "
                f"{steps} steps: give at most {steps}, so that eps reaches the threat's (in a "
                "recipe training.hardened.mixture.eps_warmup_steps)"
            )


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with soft labels (eq. 3 of the paper), shape (n,), float32."""
    return nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def require_between(name: str, field_: str, value: float, low: float, high: float) -> None:
    """Refuse a parameter outside [low, high], or NaN.

    Raises:
        UsageError: Naming objective, parameter and value.
    """
    if not low <= value <= high:
        limit = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
        raise UsageError(f"{name}: {field_} = {value:g}: give a number {limit}")
    if value == float("inf"):
        raise UsageError(f"{name}: {field_} = {value:g}: give a finite number")


def require_count(name: str, field_: str, value: int, least: int) -> None:
    """Refuse a parameter that is no whole number of at least `least`.

    Raises:
        UsageError: Naming objective, parameter and value.
    """
    if not (isinstance(value, int) and value >= least):
        raise UsageError(f"{name}: {field_} = {value}: give a whole number of at least {least}")


def _plain(value: Any) -> Any:
    if isinstance(value, Attack | Objective):
        return value.config()
    if isinstance(value, Threat):
        return identify_threat(value)
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return plain(value)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
