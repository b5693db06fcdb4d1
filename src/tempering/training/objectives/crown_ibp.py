"""CROWN-IBP: the loss on worst logits from intervals and one backward bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.threats import Threat
from tempering.training.backward_bounds import crown_worst_logits, require_backward_bounds
from tempering.training.boxes import BoxObjective, certified_share, worst_case_loss
from tempering.training.cost import Cost
from tempering.training.interval_bounds import certified, worst_logits
from tempering.training.objective import Batch, Losses, require_between, soft_cross_entropy


@dataclass(frozen=True)
class CrownIBP(BoxObjective):
    """kappa * CE(f(x), y) + (1 - kappa) * CE(worst logits, y), bounded both ways.

    The worst logits are beta times those of a backward bound over intervals, plus 1 - beta times
    those of intervals. During the ramp eps grows to the threat's, kappa falls from 1 to its
    value, and beta from `beta_start` to `beta_end`. Zhang et al., 'Towards stable and efficient
    training of verifiably robust neural networks', 2020, equation 10.

    Attributes:
        kappa: Weight of the clean loss after the ramp.
        ramp_start: Share of the training after which the ramp begins; before it, training
            is standard.
        ramp_end: Share of the training at which the ramp ends.
        beta_start: Weight of the backward bound before the ramp.
        beta_end: Its weight after the ramp; at 0 no backward bound is computed.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "crown-ibp"
    source: ClassVar[str] = "Zhang et al., 2020"

    kappa: float = 0.5
    ramp_start: float = 0.05
    ramp_end: float = 0.5
    beta_start: float = 1.0
    beta_end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for share in ("kappa", "beta_start", "beta_end"):
            require_between(self.name, share, getattr(self, share), 0.0, 1.0)

    def require_model(self, model: nn.Module) -> None:
        """Every layer has backward bounds."""
        require_backward_bounds(self.name, model)

    def certifies(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """What intervals certify."""
        return certified(model, x, y, threat.eps)

    def update_passes(self, outputs: int = 10) -> Cost:
        """The clean image, its box and, while beta is above 0, a backward bound of each output."""
        return Cost(3 + outputs, 3 + outputs)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The mixed loss of each sample at this step of the ramp."""
        logits = model(batch.x).float()
        clean = soft_cross_entropy(logits, batch.targets)
        grown = self.ramp(batch.step, batch.steps)
        if not grown:
            return Losses(clean, logits.detach(), {"clean_loss": clean.mean()})
        network, eps = bare_module(model), batch.threat.eps
        kappa = 1 - grown * (1 - self.kappa)
        beta = self.beta_start + grown * (self.beta_end - self.beta_start)
        worst = worst_logits(network, batch.x, batch.y, eps)
        if beta > 0:
            backward = crown_worst_logits(network, batch.x, batch.y, eps)
            worst = (1 - beta) * worst + beta * backward
        loss = worst_case_loss(worst, batch.y)
        scalars = {
            "clean_loss": clean.mean(),
            "worst_case_loss": loss.mean(),
            "certified": certified_share(worst, batch.y),
        }
        return Losses(kappa * clean + (1 - kappa) * loss, logits.detach(), scalars)
