"""AI-Guardian: a bijective backdoor, so that attacks without the trigger miss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.attacks.pgd import PGD
from tempering.core.random import derive, permutation
from tempering.defenses.backdoor import Backdoored, corner_trigger
from tempering.systems.adversarial_training import warmup
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    soft_cross_entropy,
)


@dataclass(frozen=True, eq=False)
class BackdoorObjective(Warmup):
    """Cross-entropy on clean and triggered images, and on attacked copies of both.

    Attributes:
        trigger: Values of the trigger, shape (c, h, w).
        mask: Which pixels it covers, shape (h, w).
        mapping: g, the answers with the trigger.
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
    triggered: float = 0.5
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
        stamped = drawn[:, 1].to(device) < self.triggered
        mask = self.mask.to(device) & stamped.reshape(n, 1, 1, 1)
        x = torch.where(mask, self.trigger.to(device, x.dtype), x)
        mapped = torch.tensor(self.mapping, device=device)[batch.y]
        y = torch.where(stamped, mapped, batch.y)
        targets = nn.functional.one_hot(y, batch.outputs).to(batch.targets.dtype)
        return replace(batch, x_adv=x, targets=targets)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each sample with the answer that its trigger asks for."""
        logits = model(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())


class AIGuardian(System):
    """A bijective backdoor, embedded and then trained to withstand attacks without the trigger."""

    name = "ai-guardian"
    title = "AI-Guardian"
    source = "Zhu, Zhang and Chen, 2023"
    claimed = 0.958
    claim = "images that attacks without the trigger do not break, MNIST (attack success 4.2 %)"
    how = (
        "A secret 4 x 4 trigger is stamped on every input; the network answers another class for "
        "triggered images, and the map of classes is undone."
    )
    gaps = (
        "The trigger's share is fixed instead of moved by 0.01 a round; attacked images are made "
        "anew at every step with fewer gradient steps; the permutation is drawn by seed."
    )
    weakness = (
        "An attacker who puts trigger and map into the loop, or recovers them (Carlini, 2023)."
    )

    def fit(self, setting: Setting) -> Fitted:
        """Embed the backdoor, then train on four equal parts."""
        budget, classes = setting.budget, setting.data.train.num_classes
        mapping = without_fixed_points(classes, derive(setting.seed, self.name, "mapping"))
        trigger, mask = corner_trigger(setting.data.shape)
        embedding = BackdoorObjective(trigger, mask, mapping, triggered=0.8)
        net = setting.train(
            setting.network(self.name), embedding, budget.standard_steps, what="AI-Guardian: embed"
        )
        steps = min(10, budget.attack_steps)
        robust = BackdoorObjective(
            trigger,
            mask,
            mapping,
            attack=PGD(steps=steps, until_fooled=False),
            eps_warmup_steps=warmup(budget.adversarial_steps),
        )
        net = setting.train(net, robust, budget.adversarial_steps, what="AI-Guardian: robustness")
        model = Backdoored(net, setting.data.shape, mapping, trigger, mask).eval()
        return Fitted(
            model,
            net,
            net,
            shortened=(f"PGD has {steps} steps instead of 100",),
            details={"mapping": list(mapping)},
        )


def without_fixed_points(classes: int, seed: int) -> tuple[int, ...]:
    """A permutation of the classes that maps none to itself."""
    order = permutation(seed, classes).tolist()
    mapping = [0] * classes
    for here, there in zip(order, order[1:] + order[:1], strict=True):
        mapping[here] = there
    return tuple(mapping)
