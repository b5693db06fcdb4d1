"""Training of a bijective backdoor, and the share of its images that carry the trigger."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    soft_cross_entropy,
)


@dataclass(eq=False)
class TriggerShare:
    """Share of the images that carry the trigger: constant at first, then moved after each round.

    It moves toward the images, with or without trigger, that were classified worse in the
    round's own mini-batches. It counts what it is shown, so one training needs one of its own.

    Attributes:
        value: The share now, in [0, 1].
        constant_steps: Steps before the first round.
        round_steps: Steps of a round; None for a share that never moves.
        move: How far it moves after a round.
    """

    value: float
    constant_steps: int = 0
    round_steps: int | None = None
    move: float = 0.01
    _right: list[int] = field(default_factory=lambda: [0, 0])
    _seen: list[int] = field(default_factory=lambda: [0, 0])

    def count(self, step: int, right: Tensor, stamped: Tensor) -> None:
        """Count a mini-batch, and move at the end of a round.

        Args:
            step: Steps done before this one.
            right: Which images got the answer that is asked for, shape (n,), bool.
            stamped: Which carry the trigger, shape (n,), bool.
        """
        if self.round_steps is None or step < self.constant_steps:
            return
        for part, rows in enumerate((~stamped, stamped)):
            self._right[part] += int((right & rows).sum())
            self._seen[part] += int(rows.sum())
        if (step - self.constant_steps + 1) % self.round_steps == 0:
            clean, triggered = (
                hits / max(1, seen) for hits, seen in zip(self._right, self._seen, strict=True)
            )
            moved = self.value + self.move * ((triggered < clean) - (triggered > clean))
            self.value = min(1.0, max(0.0, moved))
            self._right, self._seen = [0, 0], [0, 0]


@dataclass(frozen=True, eq=False)
class BackdoorObjective(Warmup):
    """Cross-entropy on clean and triggered images, and on attacked copies of both.

    Attributes:
        trigger: Values of the trigger, shape (c, h, w).
        mask: Which pixels it covers, shape (h, w).
        mapping: g, the answers with the trigger; maps no class to itself.
        triggered: Share of the images with the trigger.
        attack: How the attacked half is made, without the trigger; None for no such half.
        eps_warmup_steps: Steps over which eps grows to the threat's.
    """

    name: ClassVar[str] = "bijective-backdoor"
    source: ClassVar[str] = "Zhu, Zhang and Chen, 2023"
    inner_maximization: ClassVar[InnerMaximization] = "own"

    trigger: Tensor
    mask: Tensor
    mapping: tuple[int, ...]
    triggered: TriggerShare = field(default_factory=lambda: TriggerShare(0.5))
    attack: Attack | None = None
    eps_warmup_steps: int = 0

    def perturb(self, batch: Batch) -> Batch:
        """Attack one half, then stamp the trigger on a share of both."""
        n, device = len(batch.y), batch.x.device
        x = batch.x.clone()
        drawn = batch.streams.derive("backdoor").uniform((2,), 0.0, 1.0)
        if self.attack is not None:
            rows = (drawn[:, 0] < 0.5).nonzero()[:, 0].to(device)
            if len(rows):
                x[rows] = batch.attack(self.attack, rows)
        stamped = drawn[:, 1].to(device) < self.triggered.value
        mask = self.mask.to(device) & stamped.reshape(n, 1, 1, 1)
        x = torch.where(mask, self.trigger.to(device, x.dtype), x)
        mapped = torch.tensor(self.mapping, device=device)[batch.y]
        y = torch.where(stamped, mapped, batch.y)
        targets = nn.functional.one_hot(y, batch.outputs).to(batch.targets.dtype)
        return replace(batch, x_adv=x, targets=targets)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each sample with the answer that its trigger asks for."""
        logits = model(batch.perturbed).float()
        asked = batch.targets.argmax(1)
        self.triggered.count(batch.step, logits.argmax(1) == asked, asked != batch.y)
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())
