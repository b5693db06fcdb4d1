"""Repair of a model with a backdoor, by a small clean set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tempering.core.errors import ModelError, UnknownNameError, UsageError
from tempering.core.module_copies import copied_module
from tempering.core.progress import track
from tempering.core.random import derive, permutation
from tempering.core.user_code import device_of, users_code
from tempering.data.dataset import Dataset
from tempering.models.adoption import with_logits
from tempering.models.logits import as_logits_model
from tempering.models.seeded import seeded
from tempering.models.trainable import trainable, unwrapped
from tempering.poisoning.models.pruning import Pruned, prunable_layer, prune
from tempering.poisoning.triggers.base import Trigger

METHODS = ("both", "fine-pruning", "unlearning")


@dataclass(frozen=True, eq=False)
class RepairedModel:
    """A repaired copy of a model.

    Attributes:
        model: The network, in evaluation mode.
        pruned: What was removed; None without pruning.
        steps: Steps of fine-tuning.
    """

    model: nn.Module
    pruned: Pruned | None
    steps: int


@dataclass(frozen=True)
class Repairing:
    """Repair a model: prune dormant filters, then fine-tune on clean images.

    `fine-pruning` (Liu, Dolan-Gavitt and Garg, 2018) needs no trigger. `unlearning` (Wang et al.,
    2019, section VI-C) fine-tunes on clean images and on copies of them with the trigger that was
    found and their own label. `both` prunes and then unlearns.

    Attributes:
        method: One of `METHODS`.
        steps: Steps of fine-tuning.
        batch_size: Clean images a step; half as many stamped ones come beside them.
        learning_rate: Of Adam, at first; it falls to 0 linearly.
        most_lost: Accuracy on the clean set that pruning may cost, a fraction.

    Raises:
        UnknownNameError: If there is no such method.
        UsageError: If a number is out of range.
    """

    method: str = "both"
    steps: int = 200
    batch_size: int = 64
    learning_rate: float = 1e-3
    most_lost: float = 0.005

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("method", self.method, METHODS)
        if self.steps < 1 or self.batch_size < 2:
            raise UsageError(
                f"steps {self.steps}, batch_size {self.batch_size}: give at least 1 and 2"
            )
        if not (self.learning_rate > 0 and 0 <= self.most_lost < 1):
            raise UsageError(
                f"learning_rate {self.learning_rate}, most_lost {self.most_lost}: give more than "
                "0, and 0 to 1"
            )

    @property
    def needs_trigger(self) -> bool:
        """Whether it unlearns a trigger."""
        return self.method != "fine-pruning"

    @property
    def prunes(self) -> bool:
        """Whether filters are removed first."""
        return self.method != "unlearning"

    def require(self, model: nn.Module, clean: Dataset) -> None:
        """Refuse a model that cannot be repaired and saved, before anything is run.

        Raises:
            ModelError: If it cannot be trained, or has nothing to prune.
        """
        copy = _trainable_copy(model, clean)
        if self.prunes:
            prunable_layer(copy)

    def repair(
        self, model: nn.Module, clean: Dataset, triggers: Sequence[Trigger], seed: int = 0
    ) -> RepairedModel:
        """Repair a copy of a model.

        Args:
            model: The model as it was given, before it was wrapped for logits.
            clean: Clean images.
            triggers: Those that are unlearned; at least one unless the method is fine-pruning.
            seed: Of batches, dropout and which images are stamped.

        Raises:
            UsageError: If the method needs a trigger and there is none.
            ModelError: If the model cannot be trained or has nothing to prune.
        """
        if self.needs_trigger and not triggers:
            raise UsageError(
                f"method {self.method} without a trigger: give one, or the method fine-pruning"
            )
        base = _trainable_copy(model, clean)
        first = clean.first(8).x.to(device_of(base))
        network = as_logits_model(with_logits(base, first), first)
        pruned = prune(base, clean, self.most_lost) if self.prunes else None
        stamps = list(triggers) if self.needs_trigger else []
        self._fine_tune(base, network, clean, stamps, pruned, seed)
        return RepairedModel(base.eval(), pruned, self.steps)

    def _fine_tune(
        self,
        base: nn.Module,
        network: nn.Module,
        clean: Dataset,
        triggers: list[Trigger],
        pruned: Pruned | None,
        seed: int,
    ) -> None:
        weights = [parameter for parameter in base.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(weights, self.learning_rate)
        device = device_of(base)
        with (
            seeded(derive(seed, "repair")),
            torch.enable_grad(),
            track("repairing the model", self.steps) as advance,
        ):
            base.train()
            network.training = True
            for step in range(self.steps):
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * (1 - step / self.steps)
                x, y = self._batch(clean, triggers, step, seed)
                with users_code("the model fails in training", "correct the model"):
                    loss = F.cross_entropy(network(x.to(device)), y.to(device))
                    optimizer.zero_grad(set_to_none=True)
                    torch.autograd.backward(loss)
                if not math.isfinite(loss.item()):
                    raise ModelError(
                        f"the loss is {loss.item()} at step {step + 1} of the repair: give a "
                        "model with finite logits, or a lower learning_rate"
                    )
                optimizer.step()
                if pruned is not None:
                    pruned.apply(base)
                advance(step + 1, f"loss {loss.item():.3f}")

    def _batch(
        self, clean: Dataset, triggers: list[Trigger], step: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Clean images, and beside them stamped copies of half of them, with their own labels."""
        size = min(self.batch_size, len(clean))
        a_round = max(1, len(clean) // size)
        order = permutation(derive(seed, "repair", step // a_round), len(clean))
        rows = order[step % a_round * size :][:size]
        x, y = clean.images(rows), clean.y[rows]
        if not triggers:
            return x, y
        half = max(1, len(rows) // 2)
        trigger = triggers[step % len(triggers)]
        return torch.cat([x, trigger.stamp(x[:half])]), torch.cat([y, y[:half]])


def _trainable_copy(model: nn.Module, clean: Dataset) -> nn.Module:
    return trainable(copied_module(unwrapped(model)), clean.first(8).x)
