"""The base of objectives that bound the network over boxes, whose eps is ramped up."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.errors import ThreatError, UsageError
from tempering.core.threats import Linf, Threat
from tempering.training.interval_bounds import layers_of
from tempering.training.objective import Objective, require_between


class BoxObjective(Objective):
    """Certified training: eps grows linearly from `ramp_start` to `ramp_end`.

    Both are shares of the training. A subclass has them as fields.
    """

    single_samples: ClassVar[bool] = False

    ramp_start: float
    ramp_end: float

    def __post_init__(self) -> None:
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


def worst_case_loss(worst: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of upper bounds of each logit less the true one, shape (n,), float32.

    Args:
        worst: Bounds, shape (n, outputs), 0 at the true class.
        y: True classes, shape (n,), int64.
    """
    return F.cross_entropy(worst.float(), y, reduction="none")


def certified_share(worst: Tensor, y: Tensor) -> Tensor:
    """The share of samples whose bounds leave no other class, a scalar."""
    return (worst.detach().scatter(1, y[:, None], -torch.inf).amax(1) < 0).float().mean()
