"""Loss-based trimming: samples with the largest loss of a batch are left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from tempering.training.objective import Batch, Losses, require_between
from tempering.training.wrapper import Wrapper


@dataclass(frozen=True)
class Trim(Wrapper):
    """The wrapped objective without the share of each batch that has the largest loss.

    Shen and Sanghavi, 'Learning with bad training data via iterative trimmed loss minimization',
    2019; here the loss is trimmed batch by batch, as in online versions of it. It is meant
    for wrong labels, which keep a large loss; backdoors are learned fast and keep a small one.

    Attributes:
        inner: The objective that is wrapped.
        share: Share of a batch that is left out, rounded up to whole samples.
        after: Share of the training after which trimming begins; before it, losses say little.

    Raises:
        UsageError: If a share is none.

    Example:
        >>> Trim(share=0.1).spec()
        'trim:share=0.1,after=0.2+standard:label_smoothing=0'
    """

    name: ClassVar[str] = "trim"
    source: ClassVar[str] = "Shen and Sanghavi, 2019"

    share: float = 0.05
    after: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "share", self.share, 0.0, 0.9)
        require_between(self.name, "after", self.after, 0.0, 1.0)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Losses of the wrapped objective; 0 for trimmed samples, whose weight the others get.

        Each process trims its own part of a batch.
        """
        losses = self.inner(model, batch)
        n = len(losses.per_sample)
        dropped = min(math.ceil(self.share * n - 1e-9), n - 1)
        if batch.step < self.after * batch.steps or dropped < 1:
            return losses
        order = losses.per_sample.detach().argsort(descending=True, stable=True)
        kept = torch.ones_like(losses.per_sample).index_fill(0, order[:dropped], 0.0)
        weights = batch.weights.to(kept.device)
        scale = weights.sum() / (weights * kept).sum().clamp_min(1e-12)
        trimmed = losses.per_sample.detach()[order[:dropped]].mean()
        return replace(
            losses,
            per_sample=torch.where(kept > 0, losses.per_sample * scale, 0.0),
            scalars={**losses.scalars, "trimmed_loss": trimmed},
        )
