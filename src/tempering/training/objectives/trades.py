"""TRADES: accuracy on clean images and agreement with their worst-case neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.probe import Probe, probing
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

START = 1e-3
"""Standard deviation of the noise that the inner maximization starts from, as its authors chose:
at the image itself the divergence has no gradient."""


@dataclass(frozen=True)
class Trades(Warmup):
    """CE(f(x), y) + beta * KL(p(x) || p(x_adv)), x_adv maximizing that divergence.

    Zhang et al., 'Theoretically principled trade-off between robustness and accuracy', 2019,
    section 3.3 and algorithm 1.

    Attributes:
        beta: Weight of the divergence (1 / lambda in the paper's theory).
        steps: Gradient steps of the inner maximization.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.

    Example:
        >>> Trades(beta=6).spec()
        'trades:beta=6,steps=10,step_size=none,eps_warmup_steps=0'
    """

    name: ClassVar[str] = "trades"
    source: ClassVar[str] = "Zhang et al., 2019"
    inner_maximization: ClassVar[InnerMaximization] = "own"

    beta: float = 6.0
    steps: int = 10
    step_size: float | None = None
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "beta", self.beta, 0.0, math.inf)
        require_count(self.name, "steps", self.steps, 1)
        if self.step_size is not None:
            require_between(self.name, "step_size", self.step_size, 0.0, math.inf)

    def multi_step(self) -> Trades | None:
        """This objective with ten steps, if it has one."""
        return replace(self, steps=10, step_size=None) if self.steps == 1 else None

    def require(self, threat: Threat, steps: int) -> None:
        """The threat can be climbed in, and the warm-up ends before training does."""
        require_climbable(self.name, threat)
        super().require(threat, steps)

    def perturb(self, batch: Batch) -> Batch:
        """Projected gradient ascent on KL(p(x) || p(x_adv)) from close to the image."""
        noise = batch.streams.derive("start").normal(batch.x.shape[1:])
        start = batch.x + START * noise.to(batch.x.dtype)
        with probing(batch.model) as probe:
            clean = probe.logits(batch.x)

        def gradient(probe: Probe, x_adv: Tensor) -> Tensor:
            return probe.gradient(x_adv, lambda logits: divergence(clean, logits))[1]

        return batch.with_x_adv(ascend(batch, start, gradient, self.steps, self.step_size))

    def inner_passes(self) -> Cost:
        """The clean image, then a pass in both directions for each step."""
        return Cost(self.steps + 1, self.steps)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean and the adversarial image."""
        return Cost(2, 2)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample; clean and adversarial images go through in one pass."""
        clean, adversarial = model(torch.cat([batch.x, batch.perturbed])).float().chunk(2)
        natural = soft_cross_entropy(clean, batch.targets)
        robust = divergence(clean, adversarial)
        scalars = {"clean_loss": natural.mean(), "kl": robust.mean()}
        return Losses(natural + self.beta * robust, adversarial.detach(), scalars)


def divergence(clean: Tensor, adversarial: Tensor) -> Tensor:
    """KL(p || q) of the distributions of two sets of logits, shape (n,).

    Args:
        clean: Logits of p, shape (n, outputs).
        adversarial: Logits of q, shape (n, outputs).
    """
    log_p, log_q = F.log_softmax(clean, 1), F.log_softmax(adversarial, 1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
