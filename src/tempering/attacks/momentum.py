"""Gradients that carry on those before them."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.probe import Loss, Probe


class MomentumProbe(Probe):
    """A model whose gradient is the sum of all that it gave for a sample, older ones less.

    Each is scaled to the L1 length 1 first (Dong et al., 2018, equation 6), so any
    attack that climbs becomes its momentum variant.

    Attributes:
        decay: What a gradient is worth one step later.
    """

    stateful = True

    def __init__(self, inner: Probe, decay: float) -> None:
        super().__init__(inner.model)
        self._inner = inner
        self.decay = decay
        self._past: dict[int, Tensor] = {}

    def logits(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Those of the inner probe."""
        return self._inner.logits(x, index)

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits, and the decayed sum of this sample's gradients."""
        logits, gradient = self._inner.gradient(x, loss, index)
        size = gradient.flatten(1).abs().sum(1).clamp_min(torch.finfo(gradient.dtype).tiny)
        gradient = gradient / size[:, None, None, None]
        if index is None:
            raise ValueError("momentum is kept sample by sample: give their numbers")
        numbers = index.tolist()
        none = torch.zeros_like(gradient[:1])[0]
        past = torch.stack([self._past.get(number, none) for number in numbers])
        total = gradient + self.decay * past
        self._past.update(zip(numbers, total.unbind(), strict=True))
        return logits, total
