"""RSLAD: a robust teacher's soft labels in place of the true ones, also for the attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.probe import Probe
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.inner_ascent import ascend, require_climbable
from tempering.training.objective import Batch, Losses
from tempering.training.objectives.trades import START
from tempering.training.teacher import Distillation, soft_divergence


@dataclass(frozen=True)
class RSLAD(Distillation):
    """(1 - alpha) * KL(T(x) || S(x)) + alpha * KL(T(x) || S(x_adv)), x_adv maximizing the latter.

    S is the network and T the teacher; the true label is not used. Zi et al., 'Revisiting
    adversarial robustness distillation: robust soft labels make student better', 2021,
    equation 6.

    Attributes:
        teacher: A run folder, a `.safetensors` file with its manifest beside it, or
            `file.py:factory`; from Python also a network.
        alpha: Weight of the divergence on adversarial samples.
        steps: Gradient steps of the inner maximization.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense, or there is no teacher.
    """

    name: ClassVar[str] = "rslad"
    source: ClassVar[str] = "Zi et al., 2021"

    alpha: float = 5 / 6

    def require(self, threat: Threat, steps: int) -> None:
        """The threat can be climbed in, and the warm-up ends before training does."""
        require_climbable(self.name, threat)
        super().require(threat, steps)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean and the adversarial image."""
        return Cost(2, 2)

    def perturb(self, batch: Batch) -> Batch:
        """The teacher's soft labels, and ascent on the divergence from them."""
        taught = self.taught(batch)
        noise = batch.streams.derive("start").normal(batch.x.shape[1:])
        start = batch.x + START * noise.to(batch.x.dtype)

        def gradient(probe: Probe, x_adv: Tensor) -> Tensor:
            return probe.gradient(x_adv, lambda z: soft_divergence(taught.targets, z))[1]

        return taught.with_x_adv(ascend(batch, start, gradient, self.steps, self.step_size))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample; clean and adversarial images go through in one pass."""
        clean, adversarial = model(torch.cat([batch.x, batch.perturbed])).float().chunk(2)
        natural = soft_divergence(batch.targets, clean)
        robust = soft_divergence(batch.targets, adversarial)
        scalars = {"clean_divergence": natural.mean(), "adversarial_divergence": robust.mean()}
        loss = (1 - self.alpha) * natural + self.alpha * robust
        return Losses(loss, adversarial.detach(), scalars)
