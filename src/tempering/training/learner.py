"""Training of a network in place, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.engine import Engine
from tempering.core.errors import DivergedError, TemperingError
from tempering.core.module_copies import copied_module
from tempering.core.naming import samples_named
from tempering.core.outputs import returning_logits
from tempering.core.random import derive
from tempering.core.user_code import moved, users_code
from tempering.data.dataset import Dataset
from tempering.models.checks import check_classifier
from tempering.models.classifier import flag_of
from tempering.training.batch_statistics import has_batch_statistics, measure_batch_statistics
from tempering.training.batches import BatchMaker
from tempering.training.losses import checked, mean_scalars, total_loss
from tempering.training.memory import SampleMemory
from tempering.training.moments import moments_of, restore_moments
from tempering.training.objective import Batch, Losses, Objective
from tempering.training.step_values import (
    StepConfig,
    StepState,
    Totals,
    Weights,
    copied,
    require_accumulation,
)

_MEASURED = 20
"""Batches on which statistics of batch normalisation are measured."""
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
        require_accumulation(config.batch_size, config.accumulation, len(data))
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
        full = self.batches.steps_per_epoch * self.objective.replays()
        return max(1, full // self.config.accumulation)

    def next_batch(self, part: int = 0) -> Batch:
        """A batch of the next step, with what the objective adds to it.

        Args:
            part: Which of the batches whose gradients are accumulated.
        """
        self._refresh_attack_model()
        number = self.step // self.objective.replays() * self.config.accumulation + part
        epoch = number // self.batches.steps_per_epoch
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self.batches.order(epoch))
        ramp = self.objective.ramp(self.step, self.batches.steps)
        with samples_named(self.batches.data.ids.name_of):
            batch = self.batches.make(number, self._order[1], ramp, self._attack_model, self.engine)
            kept = replace(batch, step=self.step, memory=self._memory.values, carried=self._carried)
            return self.objective.perturb(kept)

    def update(self, batch: Batch, totals: Totals) -> None:
        """Make one step, and count it; further batches that it accumulates are made here.

        Args:
            batch: What `next_batch` returned.
            totals: Where the step is counted.

        Raises:
            DivergedError: If the loss or a gradient is not finite; the weights are left as
                they were.
        """
        torch.manual_seed(derive(self.config.seed, "dropout", self.step, self.engine.rank))
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self._wrapped_optimizer.zero_grad()
        sums = [self._descend(batch)]
        for part in range(1, self.config.accumulation):
            sums.append(self._descend(self.next_batch(part)))
        self._check_gradients()
        self._wrapped_optimizer.step()
        self.step += 1
        self._update_average()
        losses, correct, seen, scalars = zip(*sums, strict=True)
        mean = {name: sum(part[name] for part in scalars) / len(scalars) for name in scalars[0]}
        totals.add(sum(losses), sum(correct), sum(seen), mean)

    def _descend(self, batch: Batch) -> tuple[float, int, int, dict[str, float]]:
        """Add the gradient of a batch; its share of the loss, hits, samples and scalars."""
        self.model.train()
        with torch.enable_grad(), returning_logits(self.model), _given_copies(self.model):
            with self.engine.launched.autocast():  # bounds do not pass through the wrapped network
                losses = checked(self.objective, self._net, batch)
            loss = total_loss(losses, batch) * self.engine.world_size / self.config.accumulation
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged(f"the loss of objective {self.objective.name} is {value}")
        with users_code(f"the backward pass fails at step {self.step + 1}", _BACKWARD):
            self.engine.launched.backward(loss)
        self._carried = copied(self.objective.carry(batch))
        self._remember(losses, batch)
        correct = int((losses.logits.argmax(1) == batch.y).sum())
        return value, correct, len(batch.y), mean_scalars(losses)

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
            raise self._diverged(f"the gradient of objective {self.objective.name} is not finite")

    def _diverged(self, what: str) -> TemperingError:
        """What ends a training: its learning rate, or the objective if there was no update."""
        if not self.step:
            return TemperingError(
                f"{what} at step 1, before any update: correct the objective or the model"
            )
        rate = self.config.optimizer.learning_rate
        return DivergedError("training", f"{what} at step {self.step + 1}", rate)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step."""
        factor = self.rate * self.config.schedule(step, self.batches.steps)
        return self.config.optimizer.learning_rate * factor

    def averaged(self) -> nn.Module:
        """A copy of the network with its averaged weights, in evaluation mode.

        Statistics of batch normalisation are measured anew on clean training images, unless
        the average is the weights themselves.
        """
        average = copied_module(self.model)
        average.load_state_dict(self.average)
        keeps = self.config.averaging.keeps(self.step, self.batches.steps)
        if keeps > 0 and self.step and has_batch_statistics(average):
            measure_batch_statistics(average, self.batches.clean(_MEASURED, self.engine.device))
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
        keeps = self.config.averaging.keeps(self.step, self.batches.steps)
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                kept = self.average[name]
                if kept.is_floating_point() and keeps > 0:
                    kept.lerp_(tensor, 1.0 - keeps)
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
