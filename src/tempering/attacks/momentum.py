"""Momentum: gradients that are accumulated over the steps of an attack."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import AttackError
from tempering.core.probe import Loss, Probe


class MomentumProbe(Probe):
    """A model whose gradient is the decayed sum of all gradients of a sample.

    Each gradient is scaled to L1 norm 1 first (Dong et al., 'Boosting adversarial attacks
    with momentum', 2018, equation 6), so any gradient attack becomes its momentum variant.

    Attributes:
        decay: Factor of the sum at each new gradient.
    """

    stateful = True

    def __init__(self, inner: Probe, decay: float) -> None:
        super().__init__(inner.model)
        self._inner = inner
        self.decay = decay
        self._slots: dict[int, int] = {}
        self._sums = torch.zeros(0)

    def logits(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Logits of the inner probe."""
        return self._inner.logits(x, index)

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits, and the decayed sum of the samples' gradients.

        Raises:
            AttackError: If samples have no numbers, or two have the same.
        """
        logits, gradient = self._inner.gradient(x, loss, index)
        slots = self._slots_of(index, gradient)
        size = gradient.flatten(1).abs().sum(1).clamp_min(torch.finfo(gradient.dtype).tiny)
        total = gradient / size[:, None, None, None] + self.decay * self._sums[slots]
        self._sums[slots] = total
        return logits, total

    def _slots_of(self, index: Tensor | None, gradient: Tensor) -> Tensor:
        """Rows of the sums that belong to some samples; new samples get a row of zeros."""
        numbers = [] if index is None else index.tolist()
        if len(set(numbers)) < len(gradient):
            raise AttackError("momentum is kept per sample: give each sample a number of its own")
        slots = [self._slots.setdefault(number, len(self._slots)) for number in numbers]
        new = len(self._slots) - len(self._sums)
        if new:
            zeros = gradient.new_zeros(new, *gradient.shape[1:])
            self._sums = torch.cat([self._sums.to(gradient), zeros]) if len(self._sums) else zeros
        return torch.tensor(slots, device=gradient.device)
