"""Iterative adversarial retraining: the paper's mixture of clean, noisy and adversarial samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.attacks.box import Box
from tempering.attacks.fgsm import FGSM
from tempering.core.errors import UsageError
from tempering.core.threats import Threat
from tempering.data.augmentation import gaussian_noise
from tempering.data.preprocessing import adversarial_labels, soft_labels
from tempering.training.cost import Cost
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    require_between,
    soft_cross_entropy,
)
from tempering.training.objectives.pgd_training import PGDTraining

CLEAN, NOISY, ADVERSARIAL = range(3)


@dataclass(frozen=True)
class Paper(Warmup):
    """Cross-entropy on clean, noisy and freshly attacked samples with soft labels (eq. 3).

    Afzal and Huzaifa, 'Securing AI systems against adversarial attacks', section III.

    Attributes:
        clean: Share of a batch that is left as it is.
        noisy: Share that gets Gaussian noise (eq. 2 of the paper).
        adversarial: Share that is attacked, made fresh at every step.
        attacks: Attacks that share the adversarial part equally.
        sigma: Standard deviation of the noise, in units of [0, 1].
        alpha: Weight of the loss on clean and noisy samples; the rest is adversarial.
        label_smoothing: Share of a label spread over all classes.
        lam_max: Share of an adversarial sample's label that goes to the adversarial
            class at full perturbation.
        eps_warmup_steps: Steps over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "paper"
    source: ClassVar[str] = "Afzal and Huzaifa, section III"
    inner_maximization: ClassVar[InnerMaximization] = "attack"

    clean: float = 0.1
    noisy: float = 0.1
    adversarial: float = 0.8
    attacks: tuple[Attack, ...] = (Box(steps=3, flips=0, starts=1, until_fooled=False),)
    sigma: float = 0.1
    alpha: float = 0.15
    label_smoothing: float = 0.0
    lam_max: float = 0.0
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for share in ("clean", "noisy", "adversarial", "alpha", "lam_max"):
            require_between(self.name, share, getattr(self, share), 0.0, 1.0)
        require_between(self.name, "sigma", self.sigma, 0.0, math.inf)
        require_between(self.name, "label_smoothing", self.label_smoothing, 0.0, 0.999)
        total = self.clean + self.noisy + self.adversarial
        if not math.isclose(total, 1.0, abs_tol=0.01):
            raise UsageError(
                f"{self.name}: shares clean + noisy + adversarial = {total:g}: let them sum to 1"
            )
        if self.adversarial > 0 and not self.attacks:
            raise UsageError(f"{self.name}: no attacks: name at least one, such as 'pgd:steps=5'")

    def multi_step(self) -> PGDTraining | None:
        """PGD training, if every attack is FGSM."""
        single = self.adversarial > 0 and all(isinstance(one, FGSM) for one in self.attacks)
        return PGDTraining(eps_warmup_steps=self.eps_warmup_steps) if single else None

    def require(self, threat: Threat, steps: int) -> None:
        """The attacks know the threat, and the warm-up ends before training does."""
        if self.adversarial > 0:
            for attack in self.attacks:
                attack.require(threat)
            super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """The share that is attacked, by the mean of its attacks."""
        if not self.attacks:
            return Cost()
        effort = sum(attack.effort() for attack in self.attacks) / len(self.attacks)
        return Cost(effort, effort).times(self.adversarial)

    def perturb(self, batch: Batch) -> Batch:
        """Noise and attacks on their shares of the batch; soft labels and weights."""
        part, weights = self._parts(batch.size)
        part, weights = part[batch.rows], weights[batch.rows].to(batch.x.device)
        targets = soft_labels(batch.y, batch.outputs, batch.classes, self.label_smoothing)
        x_adv = batch.x
        noisy = (part == NOISY).nonzero()[:, 0]
        rows = (part == ADVERSARIAL).nonzero()[:, 0]
        if len(noisy):
            noise = batch.streams[noisy].derive("noise")
            x_adv = x_adv.index_copy(0, noisy, gaussian_noise(batch.x[noisy], self.sigma, noise))
        if len(rows):
            attacked = self._attacked(batch, rows)
            x_adv = x_adv.index_copy(0, rows, attacked)
            if batch.flag is not None and self.lam_max > 0:
                size = batch.full_threat.distance(attacked, batch.x[rows])
                lam = self.lam_max * (size / (batch.full_threat.eps or 1.0)).clamp(0.0, 1.0)
                soft = adversarial_labels(batch.y[rows], batch.outputs, batch.flag, lam)
                targets = targets.index_copy(0, rows, soft.to(targets.dtype))
        return replace(batch, x_adv=x_adv, targets=targets, weights=weights)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each sample with its soft label."""
        logits = model(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())

    def _attacked(self, batch: Batch, rows: Tensor) -> Tensor:
        """Adversarial copies of some rows; the attacks take turns."""
        x_adv = batch.x[rows]
        for number, attack in enumerate(self.attacks):
            turn = slice(number, None, len(self.attacks))
            x_adv[turn] = batch.attack(attack, rows[turn], number)
        return x_adv

    def _parts(self, n: int) -> tuple[Tensor, Tensor]:
        """Which part each row of a whole batch is, and its weight."""
        clean = round(n * self.clean)
        noisy = min(n - clean, round(n * self.noisy))
        adversarial = n - clean - noisy if self.adversarial > 0 else 0
        noisy = n - clean - adversarial if self.noisy > 0 else noisy
        clean = n - noisy - adversarial
        part = torch.cat(
            [torch.full((count,), kind) for kind, count in enumerate((clean, noisy, adversarial))]
        )
        alpha = 1.0 if adversarial == 0 else 0.0 if clean + noisy == 0 else self.alpha
        benign = alpha / max(1, clean + noisy)
        weights = torch.where(part == ADVERSARIAL, (1 - alpha) / max(1, adversarial), benign)
        return part, weights
