"""Interval training (IBP): the loss on the worst logits that interval bounds allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import nn

from tempering.core.engine import bare_module
from tempering.core.errors import ThreatError, UsageError
from tempering.core.threats import Linf, Threat
from tempering.training.interval_bounds import layers_of, worst_logits
from tempering.training.objective import (
    Batch,
    Losses,
    Objective,
    require_between,
    soft_cross_entropy,
)


@dataclass(frozen=True)
class Interval(Objective):
    """kappa * CE(f(x), y) + (1 - kappa) * CE(worst logits in the box, y).

    During the ramp eps grows from 0 to the threat's and kappa falls from 1 to its value.
    Gowal et al., 'On the effectiveness of interval bound propagation for training verifiably
    robust models', 2018, section 4.

    Attributes:
        kappa: Weight of the clean loss after the ramp.
        ramp_start: Share of the training after which the ramp begins; before it, training
            is standard.
        ramp_end: Share of the training at which the ramp ends.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "interval"
    source: ClassVar[str] = "Gowal et al., 2018"

    kappa: float = 0.5
    ramp_start: float = 0.05
    ramp_end: float = 0.5

    def __post_init__(self) -> None:
        require_between(self.name, "kappa", self.kappa, 0.0, 1.0)
        require_between(self.name, "ramp_start", self.ramp_start, 0.0, 1.0)
        if not self.ramp_start < self.ramp_end <= 1.0:
            raise UsageError(
                f"{self.name}: ramp_end = {self.ramp_end:g}, a share of the training: "
                f"give a number above ramp_start = {self.ramp_start:g} and at most 1"
            )

    def ramp(self, step: int, steps: int) -> float:
        """0 before `ramp_start`, linear, 1 from `ramp_end` on."""
        share = (step / steps - self.ramp_start) / (self.ramp_end - self.ramp_start)
        return min(1.0, max(0.0, share))

    def require(self, threat: Threat, steps: int) -> None:  # noqa: ARG002
        """The threat is L-inf."""
        if type(threat) is not Linf:
            raise ThreatError(f"{self.name} does not train against {threat}: it knows linf")

    def require_model(self, model: nn.Module) -> None:
        """Every layer has interval bounds."""
        for _ in layers_of(model):
            pass

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The mixed loss of each sample at this step of the ramp."""
        logits = model(batch.x).float()
        clean = soft_cross_entropy(logits, batch.targets)
        grown = self.ramp(batch.step, batch.steps)
        if not grown:
            return Losses(clean, logits.detach(), {"clean_loss": clean.mean()})
        kappa = 1 - grown * (1 - self.kappa)
        bounds = worst_logits(bare_module(model), batch.x, batch.y, batch.threat.eps)
        worst = F.cross_entropy(bounds.float(), batch.y, reduction="none")
        scalars = {
            "clean_loss": clean.mean(),
            "worst_case_loss": worst.mean(),
            "certified": (bounds.scatter(1, batch.y[:, None], -float("inf")).amax(1) < 0)
            .float()
            .mean(),
        }
        return Losses(kappa * clean + (1 - kappa) * worst, logits.detach(), scalars)
