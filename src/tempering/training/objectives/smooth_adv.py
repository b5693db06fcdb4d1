"""SmoothAdv: adversarial training of the classifier that randomized smoothing certifies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.probe import Probe
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.inner_ascent import ascend, require_climbable
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    require_between,
    require_count,
    soft_cross_entropy,
)


@dataclass(frozen=True)
class SmoothAdv(Warmup):
    """Mean cross-entropy of noisy copies of x_adv, which fools the smoothed classifier.

    Salman et al., 'Provably robust deep learning via adversarially trained smoothed
    classifiers', 2019, section 3 and algorithm 1. x_adv climbs -log of the mean probability of
    the true class over `samples` noisy copies; training uses the same noise. It is not clipped to
    [0, 1].

    Attributes:
        sigma: Standard deviation of the noise, in units of [0, 1]: that of the certificate.
        samples: Noisy copies of each image.
        steps: Gradient steps of the inner maximization.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "smooth-adv"
    source: ClassVar[str] = "Salman et al., 2019"
    inner_maximization: ClassVar[InnerMaximization] = "own"
    single_samples: ClassVar[bool] = False

    sigma: float = 0.25
    samples: int = 2
    steps: int = 2
    step_size: float | None = None
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "sigma", self.sigma, 0.0, math.inf)
        require_count(self.name, "samples", self.samples, 1)
        require_count(self.name, "steps", self.steps, 1)
        if self.step_size is not None:
            require_between(self.name, "step_size", self.step_size, 0.0, math.inf)

    def require(self, threat: Threat, steps: int) -> None:
        """The threat can be climbed in, and the warm-up ends before training does."""
        require_climbable(self.name, threat)
        super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """Every copy, at each step."""
        return Cost(self.samples, self.samples).times(self.steps)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """Every copy."""
        return Cost(self.samples, self.samples)

    def perturb(self, batch: Batch) -> Batch:
        """Noisy copies of x_adv, shape (samples * n, c, h, w), copy by copy."""
        noise = self.noise(batch)

        def gradient(probe: Probe, x_adv: Tensor) -> Tensor:
            copies = x_adv.repeat(self.samples, 1, 1, 1) + noise
            _, slopes = probe.gradient(copies, lambda logits: smoothed_loss(logits, batch.y))
            return slopes.reshape(self.samples, *x_adv.shape).sum(0)

        x_adv = ascend(batch, batch.x, gradient, self.steps, self.step_size)
        return batch.with_x_adv(x_adv.repeat(self.samples, 1, 1, 1) + noise)

    def noise(self, batch: Batch) -> Tensor:
        """The noise of every copy, shape (samples * n, c, h, w)."""
        drawn = [
            batch.streams.derive("noise", number).normal(batch.x.shape[1:])
            for number in range(self.samples)
        ]
        return self.sigma * torch.cat(drawn).to(batch.x.dtype)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The mean cross-entropy of each sample's copies."""
        logits = model(batch.perturbed).float()
        losses = soft_cross_entropy(logits, batch.targets.repeat(self.samples, 1))
        mean = logits.detach().softmax(1).reshape(self.samples, *batch.targets.shape).mean(0)
        return Losses(losses.reshape(self.samples, -1).mean(0), mean.log())


def smoothed_loss(logits: Tensor, y: Tensor) -> Tensor:
    """-log of the mean probability of the true class over copies, shape (n,).

    Args:
        logits: Of all copies, copy by copy, shape (copies * n, outputs).
        y: True classes, shape (n,), int64.
    """
    copies = len(logits) // max(1, len(y))
    own = logits.log_softmax(1).gather(1, y.repeat(copies)[:, None]).reshape(copies, len(y))
    return math.log(copies) - torch.logsumexp(own, 0)
