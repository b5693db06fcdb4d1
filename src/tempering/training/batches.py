"""Mini-batches of clean, noisy and adversarial samples, as a function of the step's number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine
from tempering.core.random import RandomStreams, derive, permutation
from tempering.core.threats import Threat
from tempering.data.augmentation import gaussian_noise
from tempering.data.dataset import Dataset
from tempering.data.preprocessing import adversarial_labels, soft_labels
from tempering.training.settings import Mixture

Augment = Callable[[Tensor, RandomStreams], Tensor]
"""Images and their random streams to augmented images."""


@dataclass(frozen=True)
class Batch:
    """This process's part of a mini-batch.

    Attributes:
        x: Images, shape (n, c, h, w).
        y: True classes, shape (n,), int64.
        targets: Soft labels over the model's outputs, shape (n, outputs).
        weights: Loss weights, shape (n,); they sum to 1 over all processes.
    """

    x: Tensor
    y: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of any step, alone from its number and the current weights.

    Attributes:
        data: Training samples.
        mixture: What a batch is made of.
        threat: What the adversarial part may change.
        batch_size: Samples a step, over all processes.
        seed: Key of order, noise, augmentation and attacks.
        outputs: Outputs of the model.
        flag: Number of the adversarial class; None if the model has none.
        augment: What is done to every image first.
    """

    data: Dataset
    mixture: Mixture
    threat: Threat
    batch_size: int
    seed: int
    outputs: int
    flag: int | None
    augment: Augment | None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training data."""
        return max(1, len(self.data) // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """The order of samples in an epoch, shape (n,)."""
        return permutation(derive(self.seed, "order", epoch), len(self.data))

    def make(self, step: int, order: Tensor, attacked: nn.Module, engine: Engine) -> Batch:
        """This process's part of the batch of a step.

        Args:
            step: Steps done before this one.
            order: `order` of the epoch that the step lies in.
            attacked: The current model, as attacks see it.
            engine: Says which rows are this process's own.
        """
        at = step % self.steps_per_epoch * self.batch_size
        ids = order[at : at + self.batch_size]
        rows = engine.shard(len(ids))
        part, weights = self._parts(len(ids))
        part, weights, ids = part[rows], weights[rows], ids[rows]
        streams = RandomStreams(derive(self.seed, "step", step), ids).on(engine.device)
        x, y = self.data.x[ids].to(engine.device), self.data.y[ids].to(engine.device)
        if self.augment is not None:
            x = self.augment(x, streams.derive("augmentation"))
        targets = soft_labels(y, self.outputs, self.data.num_classes, self.mixture.label_smoothing)
        noisy, adversarial = (part == 1).nonzero()[:, 0], (part == 2).nonzero()[:, 0]
        if len(noisy):
            noise = streams[noisy].derive("noise")
            x = x.index_copy(0, noisy, gaussian_noise(x[noisy], self.mixture.sigma, noise))
        if len(adversarial):
            x_adv, lam = self._attack(
                step, attacked, x[adversarial], y[adversarial], streams[adversarial]
            )
            x = x.index_copy(0, adversarial, x_adv)
            if self.flag is not None and self.mixture.lam_max > 0:
                soft = adversarial_labels(y[adversarial], self.outputs, self.flag, lam)
                targets = targets.index_copy(0, adversarial, soft.to(targets.dtype))
        return Batch(x, y, targets, weights.to(engine.device))

    def _parts(self, n: int) -> tuple[Tensor, Tensor]:
        """Which part each row is (0 clean, 1 noisy, 2 adversarial), and its weight."""
        mixture = self.mixture
        clean = round(n * mixture.clean)
        noisy = min(n - clean, round(n * mixture.noisy))
        adversarial = n - clean - noisy if mixture.adversarial > 0 else 0
        noisy = n - clean - adversarial if mixture.noisy > 0 else noisy
        clean = n - noisy - adversarial
        part = torch.cat(
            [torch.full((count,), kind) for kind, count in enumerate((clean, noisy, adversarial))]
        )
        alpha = 1.0 if adversarial == 0 else 0.0 if clean + noisy == 0 else mixture.alpha
        benign = alpha / max(1, clean + noisy)
        weights = torch.where(part == 2, (1 - alpha) / max(1, adversarial), benign)
        return part, weights

    def _attack(
        self, step: int, attacked: nn.Module, x: Tensor, y: Tensor, streams: RandomStreams
    ) -> tuple[Tensor, Tensor]:
        """Fresh adversarial samples, and the share of their label for the adversarial class."""
        growth = min(1.0, (step + 1) / max(1, self.mixture.eps_warmup_steps))
        threat = self.threat.with_eps(self.threat.eps * growth)
        x_adv = x.clone()
        attacks = [parse_attack(spec) for spec in self.mixture.attacks]
        for number, attack in enumerate(attacks):
            rows = slice(number, None, len(attacks))
            x_adv[rows] = attack(
                attacked,
                x[rows],
                y[rows],
                threat,
                random=streams[rows].derive("attack", number),
                batch_size=self.batch_size,
            )
        share = self.threat.distance(x_adv, x) / (self.threat.eps or 1.0)
        return x_adv, self.mixture.lam_max * share.clamp(0.0, 1.0)
