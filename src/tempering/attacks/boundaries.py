"""Linearized decision boundaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.slopes import distance_to_zero
from tempering.attacks.targets import most_likely
from tempering.core.goals import reached
from tempering.core.probe import Probe
from tempering.core.threats import Threat


@dataclass(frozen=True, eq=False)
class LinearBoundaries:
    """Linear models of the boundaries between the protected outputs and some others.

    Attributes:
        fooled: Whether the points are on the attacker's side, shape (n,), bool.
        gaps: Logit of each other output less the best protected one, shape (n, m).
        normals: Their gradients, shape (n, m, c, h, w).
    """

    fooled: Tensor
    gaps: Tensor
    normals: Tensor

    @classmethod
    def around(
        cls,
        probe: Probe,
        x: Tensor,
        protect: Callable[[Tensor], Tensor],
        choose: Callable[[Tensor, Tensor], Tensor],
        index: Tensor,
    ) -> LinearBoundaries:
        """Linearise a model around points: one forward pass, and a backward for each output.

        Args:
            probe: The model.
            x: Points in [0, 1], shape (n, c, h, w).
            protect: From logits to protected outputs, shape (n, outputs), bool.
            choose: From logits and protected outputs to the other outputs, shape (n, m).
            index: Sample numbers for error messages, shape (n,).
        """
        seen: list[Tensor] = []

        def losses(logits: Tensor) -> Tensor:
            protected = protect(logits)
            low = torch.finfo(logits.dtype).min
            best = logits.masked_fill(~protected, low).amax(1, keepdim=True)
            gaps = logits.gather(1, choose(logits.detach(), protected)) - best
            seen.extend((protected, gaps.detach()))
            return gaps

        logits, normals = probe.gradients(x, losses, index)
        return cls(reached(logits, seen[0]), seen[1].to(x.dtype), normals)

    def nearest(self, threat: Threat) -> tuple[Tensor, Tensor]:
        """The gap, shape (n,), and the normal, shape (n, c, h, w), of the nearest boundary."""
        if self.gaps.shape[1] == 1:
            return self.gaps[:, 0], self.normals[:, 0]
        flat = self.normals.flatten(0, 1)
        away = distance_to_zero(threat, self.gaps.flatten(), flat).reshape(self.gaps.shape)
        rows = torch.arange(len(away), device=away.device)
        which = away.argmin(1)
        return self.gaps[rows, which], self.normals[rows, which]


def top_rivals(most: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Choose the most likely outputs that are not protected, `most` at most."""
    return lambda logits, protected: most_likely(logits, protected, most)


def fixed_target(target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Choose one given output per sample, shape (n,)."""
    return lambda _logits, _protected: target[:, None]
