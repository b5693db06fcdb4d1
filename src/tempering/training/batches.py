"""Mini-batches of clean samples, as a function of the step's number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.engine import Engine
from tempering.core.random import RandomStreams, derive
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.preprocessing import soft_labels
from tempering.training.objective import Batch

Augment = Callable[[Tensor, RandomStreams], Tensor]
"""Images and their random streams to augmented images."""


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of any step from its number alone.

    Attributes:
        data: Training samples.
        threat: What an attacker may change at full eps.
        batch_size: Samples a step, over all processes.
        seed: Key of order, augmentation and of all draws of the objective.
        steps: Steps of the whole training.
        outputs: Outputs of the model.
        flag: Number of the adversarial class; None if the model has none.
        augment: What is done to every image first.
    """

    data: Dataset
    threat: Threat
    batch_size: int
    seed: int
    steps: int
    outputs: int
    flag: int | None = None
    augment: Augment | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training data."""
        return max(1, len(self.data) // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """The order of samples in an epoch, rows of the data, shape (n,), int64.

        Samples are sorted by a draw for each id, so removing one leaves the others in order.
        """
        return RandomStreams(derive(self.seed, "order", epoch), self.data.ids.keys).order()

    def clean(self, count: int, device: torch.device) -> Iterator[Tensor]:
        """Clean images of the first batches of an epoch, without augmentation.

        Args:
            count: Batches at most.
            device: Where they are put.
        """
        order = self.order(0)
        for at in range(min(count, self.steps_per_epoch)):
            rows = order[at * self.batch_size : (at + 1) * self.batch_size]
            yield self.data.images(rows).to(device)

    def make(
        self, step: int, order: Tensor, ramp: float, attack_model: nn.Module | None, engine: Engine
    ) -> Batch:
        """This process's part of the batch of a step.

        Args:
            step: Steps done before this one.
            order: `order` of the epoch that the step lies in.
            ramp: Share of the threat's eps that is in force.
            attack_model: A copy of the current model, for attacks.
            engine: Says which rows are this process's own.
        """
        epoch, at = divmod(step, self.steps_per_epoch)
        at *= self.batch_size
        ids = order[at : at + self.batch_size]
        size, rows = len(ids), engine.shard(len(ids))
        ids = ids[rows]
        keys = self.data.ids.keys[ids]
        streams = RandomStreams(derive(self.seed, "epoch", epoch), keys).on(engine.device)
        x, y = self.data.images(ids).to(engine.device), self.data.y[ids].to(engine.device)
        if self.augment is not None:
            x = self.augment(x, streams.derive("augmentation"))
        return Batch(
            x=x,
            y=y,
            targets=soft_labels(y, self.outputs, self.data.num_classes, 0.0),
            weights=torch.full((len(y),), 1.0 / max(1, size), device=engine.device),
            threat=self.threat if ramp == 1 else self.threat.with_eps(self.threat.eps * ramp),
            full_threat=self.threat,
            streams=streams,
            rows=rows,
            size=size,
            step=step,
            steps=self.steps,
            classes=self.data.num_classes,
            flag=self.flag,
            attack_model=attack_model,
            samples=ids.to(engine.device),
        )
