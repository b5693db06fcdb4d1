"""First-order estimates of the distance to a boundary."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.threats import Threat


def steepness(threat: Threat, gradient: Tensor) -> Tensor:
    """The dual norm of a gradient: the largest gain of a step of unit norm, shape (n,)."""
    return (threat.ascent(gradient) * gradient).flatten(1).sum(1)


def distance_to_zero(threat: Threat, value: Tensor, gradient: Tensor) -> Tensor:
    """Distance of a linear function to zero, in the threat's norm.

    Args:
        threat: Gives the norm.
        value: Of the function, shape (n,).
        gradient: Of the function, shape (n, c, h, w).

    Returns:
        Distances without regard to the box, shape (n,); a huge number where the gradient is 0.
    """
    tiny = torch.finfo(gradient.dtype).tiny
    return value.abs().to(gradient.dtype) / steepness(threat, gradient).clamp_min(tiny)
