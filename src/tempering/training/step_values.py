"""What a training step is configured by, and where a training stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.threats import Threat
from tempering.training.averaging import EMA, Averaging
from tempering.training.batches import Augment
from tempering.training.optimizers import AdamW, Optimizer
from tempering.training.schedules import Constant, Schedule

Weights = dict[str, Tensor]
"""Tensor name -> tensor, as in a state dict."""


@dataclass(frozen=True)
class StepConfig:
    """How weights are updated at each step.

    Attributes:
        threat: What an attacker may change, at full eps.
        batch_size: Samples a step, over all processes.
        seed: Key of order, augmentation, noise, attacks and dropout.
        optimizer: Hyperparameters of the optimizer.
        schedule: What the learning rate is multiplied by at each step.
        averaging: The average of the weights, which is evaluated and kept: `EMA` or `SWA`.
        accumulation: Batches whose gradients are averaged for one update.
        total_steps: Steps of the whole training, to which schedules and ramps refer; None
            where `train_steps` is called once, for as many as it makes.
        augment: What is done to every image first.
    """

    threat: Threat
    batch_size: int = 128
    seed: int = 0
    optimizer: Optimizer = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Constant)
    averaging: Averaging = field(default_factory=EMA)
    accumulation: int = 1
    total_steps: int | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size {self.batch_size}: give at least 1")
        if self.accumulation < 1:
            raise UsageError(f"accumulation {self.accumulation}: give at least 1")


def require_accumulation(batch_size: int, accumulation: int, samples: int) -> None:
    """Refuse accumulation over more images than there are; one batch may be larger.

    Args:
        batch_size: Images a batch, at least 1.
        accumulation: Batches a step.
        samples: Training images.

    Raises:
        UsageError: If a step would take some images more than once.

    Example:
        >>> require_accumulation(32, 4, 128)
    """
    batch = min(batch_size, samples)
    if accumulation > 1 and batch * accumulation > samples:
        most = max(samples // batch, 1)
        raise UsageError(
            f"accumulation {accumulation} of batch_size {batch_size} takes "
            f"{batch_size * accumulation} images a step, and there are {samples} for training: "
            f"give an accumulation of at most {most}, or a smaller batch_size"
        )


@dataclass
class Totals:
    """Sums over some steps, for curves and logs.

    Attributes:
        loss: Sum of the losses of the steps.
        correct: Samples predicted right in training mode.
        seen: Samples in all.
        steps: Steps in all.
        scalars: What the objective logs: name -> sum and number of steps.
    """

    loss: float = 0.0
    correct: int = 0
    seen: int = 0
    steps: int = 0
    scalars: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, loss: float, correct: int, seen: int, scalars: Mapping[str, float]) -> None:
        """Count one more step."""
        self.loss += loss
        self.correct += correct
        self.seen += seen
        self.steps += 1
        for name, value in scalars.items():
            total, count = self.scalars.get(name, (0.0, 0))
            self.scalars[name] = (total + value, count + 1)

    @property
    def mean_loss(self) -> float:
        """Mean loss of a step."""
        return self.loss / max(1, self.steps)

    def means(self) -> dict[str, float]:
        """What the objective logs, as means over the steps that logged it."""
        return {name: total / count for name, (total, count) in self.scalars.items()}


@dataclass(frozen=True, eq=False)
class StepState:
    """Where a training stands; random streams follow from `step` and need no memory.

    Attributes:
        weights: Of the network, buffers included.
        average: Their moving average.
        moments: Of the optimizer: `parameter/moment` -> tensor.
        step: Mini-batch steps done.
        rate: Factor on the learning rate; rollbacks halve it.
        totals: Sums over the steps of the last call.
        memory: What the objective keeps of each sample, by id: see `SampleMemory.tensors`.
        carried: What the objective carries from step to step.
    """

    weights: Weights
    average: Weights
    moments: Weights = field(default_factory=dict)
    step: int = 0
    rate: float = 1.0
    totals: Totals = field(default_factory=Totals)
    memory: Weights = field(default_factory=dict)
    carried: Weights = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module) -> StepState:
        """The start from a model's weights."""
        weights = copied(model.state_dict())
        return cls(weights, copied(weights))


def copied(weights: Mapping[str, Tensor]) -> Weights:
    """Detached copies of tensors."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
