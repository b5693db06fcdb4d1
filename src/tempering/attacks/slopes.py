"""First-order estimates of how far a boundary is."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.threats import Threat


def steepness(threat: Threat, gradient: Tensor) -> Tensor:
    """The dual norm of a gradient: what a step of unit norm gains at most, shape (n,)."""
    return (threat.ascent(gradient) * gradient).flatten(1).sum(1)


def way_to_zero(threat: Threat, value: Tensor, gradient: Tensor) -> Tensor:
    """How far a linear function is from zero, in the threat's norm.

    Args:
        threat: Gives the norm.
        value: Of the function, shape (n,).
        gradient: Of the function, shape (n, c, h, w).

    Returns:
        Distances without regard to the box, shape (n,); a huge number where the gradient is 0.
    """
    tiny = torch.finfo(gradient.dtype).tiny
    return value.abs().to(gradient.dtype) / steepness(threat, gradient).clamp_min(tiny)
