"""Interval training (IBP): the loss on the worst logits that interval bounds allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.threats import Threat
from tempering.training.boxes import BoxObjective, certified_share, worst_case_loss
from tempering.training.cost import Cost
from tempering.training.interval_bounds import certified, worst_logits
from tempering.training.objective import Batch, Losses, require_between, soft_cross_entropy


@dataclass(frozen=True)
class Interval(BoxObjective):
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
        super().__post_init__()
        require_between(self.name, "kappa", self.kappa, 0.0, 1.0)

    def certifies(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """What intervals certify."""
        return certified(model, x, y, threat.eps)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean image and its box."""
        return Cost(3, 3)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The mixed loss of each sample at this step of the ramp."""
        logits = model(batch.x).float()
        clean = soft_cross_entropy(logits, batch.targets)
        grown = self.ramp(batch.step, batch.steps)
        if not grown:
            return Losses(clean, logits.detach(), {"clean_loss": clean.mean()})
        kappa = 1 - grown * (1 - self.kappa)
        bounds = worst_logits(bare_module(model), batch.x, batch.y, batch.threat.eps)
        worst = worst_case_loss(bounds, batch.y)
        scalars = {
            "clean_loss": clean.mean(),
            "worst_case_loss": worst.mean(),
            "certified": certified_share(bounds, batch.y),
        }
        return Losses(kappa * clean + (1 - kappa) * worst, logits.detach(), scalars)
