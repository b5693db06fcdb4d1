"""R+FGSM: a random step, then a gradient step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tempering.attacks.ascent import Ascent
from tempering.attacks.base import Attack, Problem
from tempering.attacks.steps import check_share
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat


@dataclass(frozen=True)
class RFGSM(Attack):
    """A random sign step, then one gradient step on cross-entropy with the rest of eps.

    Tramer et al., 'Ensemble adversarial training: attacks and defenses', 2018, section 4.1.

    Attributes:
        share: Length of the random step, as a share of eps; the gradient step takes the rest.
    """

    name: ClassVar[str] = "rfgsm"
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    source: ClassVar[str] = "Tramer et al., 2018"
    cost: ClassVar[str] = "forward + backward"

    share: float = 0.5

    def __post_init__(self) -> None:
        check_share(self.name, "share", self.share)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """A random corner of the smaller ball, then one gradient step."""
        return Ascent(
            steps=1,
            step_size=(1 - self.share) * problem.threat.eps,
            start=self._corner,
            loss="cross-entropy",
            until_fooled=False,
        ).run(probe, problem)

    def _corner(self, threat: Threat, x: Tensor, streams: RandomStreams) -> Tensor:
        sign = streams.on(x.device).uniform(x.shape[1:], -1.0, 1.0).sign().to(x.dtype)
        return threat.project(x + self.share * threat.eps * sign, x)
