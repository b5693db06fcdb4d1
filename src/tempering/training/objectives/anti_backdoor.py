"""Anti-backdoor learning: isolate what is learned too fast, then unlearn it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.errors import UsageError
from tempering.core.threats import Threat
from tempering.training.objective import Batch, Losses, require_between, soft_cross_entropy
from tempering.training.wrapper import Wrapper

LOSS = "abl_loss"
"""Name of the value that is kept for each sample: its cross-entropy when it was last seen."""


@dataclass(frozen=True)
class AntiBackdoor(Wrapper):
    """Isolation of the samples with the lowest loss early on, then gradient ascent on them.

    Li et al., 'Anti-backdoor learning: training clean models on poisoned data', 2021, section 3.
    During isolation training minimizes sign(CE - gamma) * CE on clean images (local gradient
    ascent): clean samples stay near gamma, and samples with a backdoor fall below it. After it,
    the wrapped objective trains on all samples but those isolated, whose loss is raised until
    they are wrong.

    Attributes:
        inner: The objective that is wrapped; it begins after isolation, with its own ramp.
        isolation: Share of the training that isolation takes; it should see each sample several
            times.
        share: Share of the data that is isolated; less than the attacker's share is enough.
        gamma: The loss below which samples are pushed back, in nats; 0 for none. The authors'
            0.5 suits data whose clean samples are learned slowly.

    Raises:
        UsageError: If a parameter makes no sense.

    Example:
        >>> AntiBackdoor(share=0.02).spec()
        'abl:isolation=0.5,share=0.02,gamma=0.1+standard:label_smoothing=0'
    """

    name: ClassVar[str] = "abl"
    source: ClassVar[str] = "Li et al., 2021"

    isolation: float = 0.5
    share: float = 0.01
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "isolation", self.isolation, 0.0, 0.9)
        require_between(self.name, "share", self.share, 1e-4, 0.5)
        require_between(self.name, "gamma", self.gamma, 0.0, math.inf)

    def memory(self) -> tuple[str, ...]:
        """The loss of each sample during isolation, and what the wrapped objective keeps."""
        return (LOSS, *self.inner.memory())

    def ramp(self, step: int, steps: int) -> float:
        """The wrapped objective's, counted from the end of isolation."""
        begin = self.begin(steps)
        return self.inner.ramp(max(0, step - begin), steps - begin)

    def require(self, threat: Threat, steps: int) -> None:
        """Both phases have steps, and the wrapped objective works with its own."""
        begin = self.begin(steps)
        if not 0 < begin < steps:
            raise UsageError(
                f"{self.name}: isolation = {self.isolation:g} of a training of {steps} steps is "
                f"{begin} steps: give a share of at least {1 / max(1, steps):.2g}"
            )
        self.inner.require(threat, steps - begin)

    def begin(self, steps: int) -> int:
        """The step at which isolation ends, in a training of `steps` steps."""
        return round(self.isolation * steps)

    def perturb(self, batch: Batch) -> Batch:
        """Nothing during isolation; after it what the wrapped objective needs."""
        if batch.step < self.begin(batch.steps):
            return batch
        return replace(self.inner.perturb(self._later(batch)), step=batch.step, steps=batch.steps)

    def carry(self, batch: Batch) -> Mapping[str, Tensor]:
        """Nothing during isolation; after it what the wrapped objective carries over."""
        if batch.step < self.begin(batch.steps):
            return batch.carried
        return self.inner.carry(self._later(batch))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of this phase."""
        if batch.step < self.begin(batch.steps):
            return self._isolate(model, batch)
        return self._unlearn(model, batch)

    def _isolate(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.x).float()
        loss = soft_cross_entropy(logits, batch.targets)
        sign = torch.sign(loss.detach() - self.gamma)
        return Losses(
            sign * loss, logits.detach(), {"clean_loss": loss.mean()}, {LOSS: loss.detach()}
        )

    def _unlearn(self, model: nn.Module, batch: Batch) -> Losses:
        losses = self.inner(model, self._later(batch))
        isolated = self.isolated(batch.memory[LOSS].to(batch.y.device))[batch.samples]
        scalars = {**losses.scalars, "isolated": isolated.float().sum()}
        if not bool(isolated.any()):
            return replace(losses, scalars=scalars)
        unlearned = unlikelihood(bare_module(model)(batch.x).float(), batch.y) / self.share
        return replace(
            losses,
            per_sample=torch.where(isolated, unlearned, losses.per_sample),
            scalars=scalars,
        )

    def isolated(self, loss: Tensor) -> Tensor:
        """The samples of the data with the lowest loss, shape (n,), bool.

        Args:
            loss: Loss of each sample of the data when it was last seen; NaN if it never was.
        """
        seen = loss[~loss.isnan()]
        if not len(seen):
            return torch.zeros_like(loss, dtype=torch.bool)
        count = min(math.ceil(self.share * len(loss)), len(seen))
        return loss <= seen.kthvalue(count).values

    def _later(self, batch: Batch) -> Batch:
        begin = self.begin(batch.steps)
        return replace(batch, step=batch.step - begin, steps=batch.steps - begin)


def unlikelihood(logits: Tensor, y: Tensor) -> Tensor:
    """-log(1 - p of the label), shape (n,).

    Its gradient in the logits is that of -CE times p / (1 - p): the same ascent, which neither
    vanishes where the label is certain nor goes on where the label is ruled out.

    Args:
        logits: Shape (n, outputs).
        y: Labels, shape (n,).
    """
    others = logits.scatter(1, y[:, None], -torch.inf)
    return logits.logsumexp(1) - others.logsumexp(1)
