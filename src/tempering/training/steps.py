"""The local update: mini-batch steps from given weights, without folders or rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.engine import Engine, start_engine
from tempering.core.errors import TemperingError, UsageError
from tempering.core.module_copies import copied_module
from tempering.core.naming import samples_named
from tempering.core.outputs import returning_logits
from tempering.core.random import derive
from tempering.core.threats import Threat
from tempering.core.user_code import moved, users_code
from tempering.data.dataset import Dataset
from tempering.models.checks import check_classifier
from tempering.models.classifier import flag_of
from tempering.training.batches import Augment, BatchMaker
from tempering.training.losses import checked, mean_scalars, total_loss
from tempering.training.memory import SampleMemory
from tempering.training.moments import moments_of, restore_moments
from tempering.training.objective import Batch, Losses, Objective
from tempering.training.optimizers import EMA, AdamW, Optimizer
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
        averaging: The moving average of the weights.
        total_steps: Steps of the whole training, to which schedules and ramps refer; None
            where `train_steps` is called once, for as many as it makes.
        augment: What is done to every image first.
    """

    threat: Threat
    batch_size: int = 128
    seed: int = 0
    optimizer: Optimizer = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Constant)
    averaging: EMA = field(default_factory=EMA)
    total_steps: int | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size {self.batch_size}: give at least 1")


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


def train_steps(
    model: nn.Module,
    data: Dataset,
    objective: Objective,
    steps: int,
    state: StepState | None = None,
    *,
    config: StepConfig,
    engine: Engine | None = None,
) -> StepState:
    """Make some steps of training from given weights; nothing is written or changed in place.

    Steps are numbered from the state's. Draws depend on the seed, the epoch and the samples' ids:
    two calls of 5 steps end where one of 10 ends, if `config.total_steps` says how long the
    whole training is.

    Args:
        model: The architecture; it is left as it is. Its weights are the start if no state
            is given.
        data: Training data.
        objective: What to minimize. Call its `prepare` first if it needs an undefended model.
        steps: How many steps to make, at least 0.
        state: Where to go on.
        config: Threat, optimizer, schedule and seed.
        engine: Where to compute; None for this machine, in float32.

    Returns:
        The state after these steps: `model.load_state_dict(state.weights)` loads it.

    Raises:
        UsageError: If the call makes no sense, or the objective cannot work with the network.
        TemperingError: If the loss or a gradient is not finite.

    Example:
        >>> from tempering.core.threats import Linf
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> data = Dataset.of(torch.rand(8, 4, 4), torch.tensor([0, 1] * 4))
        >>> from tempering.training.objectives.trades import Trades
        >>> config = StepConfig(Linf(0.1), batch_size=4)
        >>> train_steps(net, data, Trades(steps=2), 3, config=config).step
        3
    """
    if steps < 0:
        raise UsageError(f"{steps} steps: give at least 0")
    engine = engine or start_engine("32-true")
    state = state or StepState.of(model)
    total = config.total_steps or state.step + steps
    if state.step + steps > total:
        raise UsageError(
            f"{steps} steps from step {state.step} on, in a training of {total} steps: "
            "give a larger total_steps"
        )
    network = moved(copied_module(model), engine.device)
    objective.require(config.threat, total)
    objective.require_model(network)
    learner = Learner(network, data, objective, config, total, engine, state)
    totals = Totals()
    with torch.random.fork_rng(devices=[]):
        for _ in range(steps):
            learner.update(learner.next_batch(), totals)
    return learner.state(totals)


_BACKWARD = "correct the model, or the objective if it is your own"


class Learner:
    """Trains a network in place, step by step."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        objective: Objective,
        config: StepConfig,
        total_steps: int,
        engine: Engine,
        state: StepState,
    ) -> None:
        self.model, self.objective, self.config, self.engine = model, objective, config, engine
        images = data.images(torch.arange(min(8, len(data)))).to(engine.device)
        outputs = check_classifier(model, images, data.num_classes, data.name)
        self.batches = BatchMaker(
            data=data,
            threat=config.threat,
            batch_size=config.batch_size,
            seed=config.seed,
            steps=total_steps,
            outputs=outputs,
            flag=flag_of(model, data.num_classes, outputs),
            augment=config.augment,
        )
        self.model.load_state_dict(state.weights)
        self.step, self.rate = state.step, state.rate
        reference = model.state_dict()
        self.average = copied(
            {name: tensor.to(reference[name].device) for name, tensor in state.average.items()}
        )
        self._optimizer = config.optimizer.build(model.parameters())
        restore_moments(model, self._optimizer, state.moments)
        self._net, self._wrapped_optimizer = engine.launched.setup(model, self._optimizer)
        self._attack_model: nn.Module | None = None
        if objective.inner_maximization != "none":
            attacked = moved(copied_module(model), engine.device, engine.proposal_dtype)
            self._attack_model = attacked.requires_grad_(False).eval()
        self._order: tuple[int, Tensor] | None = None
        self._memory = SampleMemory(data.ids, objective.memory(), state.memory)
        self._carried = {
            name: tensor.to(engine.device) for name, tensor in copied(state.carried).items()
        }

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which each full batch of the data is used, replays included."""
        return self.batches.steps_per_epoch * self.objective.replays()

    def next_batch(self) -> Batch:
        """The batch of the next step, with what the objective adds to it."""
        self._refresh_attack_model()
        number = self.step // self.objective.replays()
        epoch = number // self.batches.steps_per_epoch
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self.batches.order(epoch))
        ramp = self.objective.ramp(self.step, self.batches.steps)
        with samples_named(self.batches.data.ids.name_of):
            batch = self.batches.make(number, self._order[1], ramp, self._attack_model, self.engine)
            kept = replace(batch, step=self.step, memory=self._memory.values, carried=self._carried)
            return self.objective.perturb(kept)

    def update(self, batch: Batch, totals: Totals) -> None:
        """Make one step, and count it.

        Raises:
            TemperingError: If the loss or a gradient is not finite; the weights are left as
                they were.
        """
        torch.manual_seed(derive(self.config.seed, "dropout", self.step, self.engine.rank))
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.model.train()
        with torch.enable_grad(), returning_logits(self.model), _given_copies(self.model):
            losses = checked(self.objective, self._net, batch)
            loss = total_loss(losses, batch) * self.engine.world_size
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TemperingError(
                f"the loss of objective {self.objective.name} is {value} at step "
                f"{self.step + 1}: lower the learning rate"
            )
        self._wrapped_optimizer.zero_grad()
        with users_code(f"the backward pass fails at step {self.step + 1}", _BACKWARD):
            self.engine.launched.backward(loss)
        self._check_gradients()
        self._wrapped_optimizer.step()
        self._carried = copied(self.objective.carry(batch))
        self._remember(losses, batch)
        self.step += 1
        self._update_average()
        correct = int((losses.logits.argmax(1) == batch.y).sum())
        totals.add(value, correct, len(batch.y), mean_scalars(losses))

    def _remember(self, losses: Losses, batch: Batch) -> None:
        if not losses.remembered:
            return
        rows = self.engine.gather(batch.samples, batch.size)
        self._memory.keep(
            {
                name: self.engine.gather(values.to(self.engine.device), batch.size)
                for name, values in losses.remembered.items()
            },
            rows,
        )

    def _check_gradients(self) -> None:
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        if norms and not bool(torch.stack(norms).isfinite().all()):
            raise TemperingError(
                f"the gradient of objective {self.objective.name} is not finite at step "
                f"{self.step + 1}: lower the learning rate"
            )

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step."""
        factor = self.rate * self.config.schedule(step, self.batches.steps)
        return self.config.optimizer.learning_rate * factor

    def averaged(self) -> nn.Module:
        """A copy of the network with its averaged weights, in evaluation mode."""
        average = copied_module(self.model)
        average.load_state_dict(self.average)
        return average.eval()

    def halve_rate(self) -> None:
        """Go on with half the learning rate."""
        self.rate /= 2

    def return_to(self, weights: Weights) -> None:
        """Go on from other weights, with a fresh optimizer."""
        self.model.load_state_dict(weights)
        self.average = copied(self.model.state_dict())
        self._optimizer.state.clear()

    def finish(self, weights: Weights) -> None:
        """Leave the network with some weights and no gradients."""
        self._optimizer.zero_grad()
        self.model.load_state_dict(weights)

    def state(self, totals: Totals | None = None) -> StepState:
        """Where training stands; copies, so that later steps do not change it."""
        return StepState(
            weights=copied(self.model.state_dict()),
            average=copied(self.average),
            moments=copied(moments_of(self.model, self._optimizer)),
            step=self.step,
            rate=self.rate,
            totals=totals or Totals(),
            memory=self._memory.tensors(),
            carried=copied(self._carried),
        )

    def _refresh_attack_model(self) -> None:
        if self._attack_model is None:
            return
        with torch.no_grad():
            for held, own in zip(
                self._attack_model.state_dict().values(),
                self.model.state_dict().values(),
                strict=True,
            ):
                held.copy_(own)

    def _update_average(self) -> None:
        decay = self.config.averaging.at(self.step)
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                kept = self.average[name]
                if kept.is_floating_point() and self.config.averaging.decay > 0:
                    kept.lerp_(tensor, 1.0 - decay)
                else:
                    kept.copy_(tensor)


@contextmanager
def _given_copies(model: nn.Module) -> Iterator[None]:
    """Within it, a network gets images in memory of its own: its forward may write its input."""
    handle = model.register_forward_pre_hook(_copied_images)
    try:
        yield
    finally:
        handle.remove()


def _copied_images(_net: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in given)
