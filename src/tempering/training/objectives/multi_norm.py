"""Robustness to several threats at once: their average, the worst of them, or in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.threat_text import write_threat
from tempering.core.threats import L1, L2, Threat
from tempering.training.cost import Cost
from tempering.training.objective import Batch, Losses, soft_cross_entropy
from tempering.training.pgd_objective import PGDObjective

MIXES = ("average", "worst", "alternating")


@dataclass(frozen=True)
class MultiNorm(PGDObjective):
    """Cross-entropy on samples attacked within the run's threat and within others.

    `average` takes the mean of all losses, `worst` each sample's largest, and `alternating` one
    threat a step, in turns. Tramer and Boneh, 'Adversarial training and robustness for multiple
    perturbations', 2019, section 4; Maini, Wong and Kolter, 'Adversarial robustness against the
    union of multiple perturbation models', 2020, section 4.

    Attributes:
        steps: Steps of PGD in each threat.
        step_size: Length of a step in each threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which the eps of all threats grow to theirs.
        threats: Threats beside that of the run; in text `l2:2+l1:10`.
        mix: `average`, `worst` or `alternating`.

    Raises:
        UsageError: If a parameter makes no sense.

    Example:
        >>> MultiNorm(threats=(L2(2.0),), mix="worst").spec()
        'multi-norm:steps=10,step_size=none,eps_warmup_steps=0,mix=worst,threats=l2:2'
    """

    name: ClassVar[str] = "multi-norm"
    source: ClassVar[str] = "Tramer and Boneh, 2019; Maini, Wong and Kolter, 2020"
    single_samples: ClassVar[bool] = False

    steps: int = 10
    step_size: float | None = None
    eps_warmup_steps: int = 0
    threats: tuple[Threat, ...] = (L2(2.0), L1(10.0))
    mix: str = "average"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mix not in MIXES:
            raise UsageError(f"{self.name}: mix = {self.mix!r}: give one of {', '.join(MIXES)}")
        if not self.threats:
            raise UsageError(
                f"{self.name}: no threats: name at least one beside that of the run, such as l2:2"
            )
        for threat in self.threats:
            if not isinstance(threat, Threat):
                raise UsageError(
                    f"{self.name}: threats has {threat!r}: give threats, such as L2(2.0)"
                )

    def require(self, threat: Threat, steps: int) -> None:
        """PGD knows every threat, and none is that of the run."""
        super().require(threat, steps)
        for other in self.threats:
            self.attack.require(other)
            if other == threat:
                raise UsageError(
                    f"{self.name}: threats = {other}, which is that of the run: give others"
                )

    def spec(self) -> str:
        """The objective as people write it; threats of your own have no text."""
        if not all(threat.built_in for threat in self.threats):
            return super().spec()
        return f"{super().spec()},threats={'+'.join(map(write_threat, self.threats))}"

    def inner_passes(self) -> Cost:
        """PGD in every threat, or in one."""
        return super().inner_passes().times(self._turns())

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """An adversarial sample of each threat, or of one."""
        return Cost(1, 1).times(self._turns())

    def perturb(self, batch: Batch) -> Batch:
        """PGD in every threat, shape (threats * n, c, h, w), or in the one whose turn it is."""
        share = batch.threat.eps / batch.full_threat.eps if batch.full_threat.eps else 1.0
        others = (threat.with_eps(threat.eps * share) for threat in self.threats)
        threats = [batch.threat, *others]
        if self.mix == "alternating":
            threats = [threats[batch.step % len(threats)]]
        parts = [
            batch.under(threat).attack(self.attack, number=number)
            for number, threat in enumerate(threats)
        ]
        return batch.with_x_adv(torch.cat(parts))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The mean or the largest loss of each sample over the threats."""
        logits = model(batch.perturbed).float()
        turns = len(logits) // max(1, len(batch.y))
        every = soft_cross_entropy(logits, batch.targets.repeat(turns, 1))
        losses = every.reshape(turns, len(batch.y))
        parts = logits.detach().reshape(turns, *batch.targets.shape)
        worst, which = losses.max(0)
        shown = parts.gather(0, which[None, :, None].expand(1, -1, parts.shape[2]))[0]
        return Losses(
            worst if self.mix == "worst" else losses.mean(0), shown, self._scalars(losses, batch)
        )

    def _scalars(self, losses: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The mean loss under each threat."""
        names = [str(threat) for threat in (batch.full_threat, *self.threats)]
        if self.mix == "alternating":
            names = [names[batch.step % len(names)]]
        return {
            f"loss {name}": loss.mean() for name, loss in zip(names, losses.detach(), strict=True)
        }

    def _turns(self) -> int:
        return 1 if self.mix == "alternating" else 1 + len(self.threats)
