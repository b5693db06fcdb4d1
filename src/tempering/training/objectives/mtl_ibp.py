"""MTL-IBP and its kin: losses between an adversarial and a certified one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.errors import UsageError
from tempering.training.attacked_boxes import AttackedBoxObjective
from tempering.training.boxes import certified_share, worst_case_loss
from tempering.training.interval_bounds import worst_logits
from tempering.training.objective import (
    Batch,
    Losses,
    require_between,
)

COMBINATIONS = ("mtl", "cc", "exp")


@dataclass(frozen=True)
class MTLIBP(AttackedBoxObjective):
    """A combination of the loss on x_adv, L, and the loss on interval bounds, B.

    De Palma et al., 'Expressive losses for verified robustness via convex combinations', 2024,
    section 4. `mtl` is (1 - alpha) L + alpha B, `exp` is L^(1 - alpha) B^alpha, and `cc` the
    loss of the logit differences combined, (1 - alpha) z(x_adv) + alpha z(bounds). x_adv is
    made by PGD in the same threat. At alpha = 1 this is interval training with kappa = 0.

    Attributes:
        alpha: Weight of the bounds: small values keep accuracy, large ones certify.
        combination: `mtl`, `cc` or `exp`.
        steps: Steps of PGD.
        ramp_start: Share of the training after which eps grows from 0; before it, training is
            standard.
        ramp_end: Share of the training at which eps reaches the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "mtl-ibp"
    source: ClassVar[str] = "De Palma et al., 2024"

    alpha: float = 0.5
    combination: str = "mtl"
    steps: int = 8
    ramp_start: float = 0.05
    ramp_end: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "alpha", self.alpha, 0.0, 1.0)
        if self.combination not in COMBINATIONS:
            raise UsageError(
                f"{self.name}: combination = {self.combination!r}: "
                f"give one of {', '.join(COMBINATIONS)}"
            )

    def perturb(self, batch: Batch) -> Batch:
        """PGD on every sample."""
        return batch.with_x_adv(batch.attack(self.attack))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The combined loss of each sample."""
        logits = model(batch.perturbed).float()
        gaps = logits - logits.gather(1, batch.y[:, None])
        bounds = worst_logits(bare_module(model), batch.x, batch.y, batch.threat.eps).float()
        loss = self.combined(gaps, bounds, batch.y)
        scalars = {
            "adversarial_loss": worst_case_loss(gaps, batch.y).mean(),
            "worst_case_loss": worst_case_loss(bounds, batch.y).mean(),
            "certified": certified_share(bounds, batch.y),
        }
        return Losses(loss, logits.detach(), scalars)

    def combined(self, gaps: Tensor, bounds: Tensor, y: Tensor) -> Tensor:
        """The loss of logits less the true one, shape (n, outputs), and of their bounds."""
        alpha = self.alpha
        if self.combination == "cc":
            return worst_case_loss((1 - alpha) * gaps + alpha * bounds, y)
        attacked, worst = worst_case_loss(gaps, y), worst_case_loss(bounds, y)
        if self.combination == "mtl":
            return (1 - alpha) * attacked + alpha * worst
        return (attacked + 1e-12) ** (1 - alpha) * (worst + 1e-12) ** alpha
