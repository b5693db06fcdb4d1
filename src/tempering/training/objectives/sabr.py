"""SABR: bounds of a small box around an adversarial point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tempering.core.engine import bare_module
from tempering.training.attacked_boxes import AttackedBoxObjective
from tempering.training.boxes import certified_share, worst_case_loss
from tempering.training.interval_bounds import worst_logits
from tempering.training.objective import (
    Batch,
    Losses,
    require_between,
)


@dataclass(frozen=True)
class SABR(AttackedBoxObjective):
    """CE(worst logits in a box of radius share * eps around an adversarial point, y).

    Mueller et al., 'Certified training: small boxes are all you need', 2023, section 4. The
    point is found by PGD in the ball of radius (1 - share) * eps, so that the box lies in the
    threat. At share = 1 this is interval training, at 0 adversarial training.

    Attributes:
        share: Radius of the box, as a share of eps.
        steps: Steps of PGD.
        ramp_start: Share of the training after which eps grows from 0; before it, training is
            standard.
        ramp_end: Share of the training at which eps reaches the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "sabr"
    source: ClassVar[str] = "Mueller et al., 2023"

    share: float = 0.4
    steps: int = 8
    ramp_start: float = 0.05
    ramp_end: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "share", self.share, 0.0, 1.0)

    def perturb(self, batch: Batch) -> Batch:
        """PGD in the ball that leaves room for the box."""
        narrow = batch.threat.with_eps((1 - self.share) * batch.threat.eps)
        return batch.with_x_adv(batch.under(narrow).attack(self.attack))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The worst-case loss of each box; its center counts for training accuracy."""
        radius = self.share * batch.threat.eps
        network = bare_module(model)
        logits = model(batch.perturbed).float()
        worst = worst_logits(network, batch.perturbed, batch.y, radius)
        loss = worst_case_loss(worst, batch.y)
        scalars = {
            "small_box_loss": loss.mean(),
            "small_box_certified": certified_share(worst, batch.y),
        }
        tied = loss + 0.0 * logits.sum(1)  # processes join gradients through the model
        return Losses(tied, logits.detach(), scalars)
