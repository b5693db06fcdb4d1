"""Euclidean distances between two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances of all pairs, shape (n, m), without the cancellation of a matrix product.

    Args:
        a: Shape (n, width).
        b: Shape (m, width).

    Example:
        >>> distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
    """
    return torch.cdist(a, b.to(a.dtype), compute_mode="donot_use_mm_for_euclid_dist")
