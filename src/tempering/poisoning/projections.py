"""Principal components of many vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components.

    Attributes:
        mean: Shape (d,).
        axes: Orthonormal columns, the first with the largest variance, shape (d, k).
        variances: Along the axes, shape (k,).
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor

    def project(self, vectors: Tensor) -> Tensor:
        """Coordinates along the axes, shape (n, k)."""
        return (vectors - self.mean) @ self.axes

    def beside(self, vectors: Tensor) -> Tensor:
        """Distance from the space of the axes, shape (n,)."""
        centred = vectors - self.mean
        inside = centred @ self.axes
        return (centred.square().sum(1) - inside.square().sum(1)).clamp(min=0).sqrt()


def principal(parts: Callable[[], Iterable[Tensor]], count: int) -> Components:
    """Principal components of vectors that come in parts, so that they need not fit in memory.

    Args:
        parts: Gives the vectors, some at a time, each of shape (n, d); it is called twice.
        count: Components at most.
    """
    total, n = torch.zeros(()), 0
    for part in parts():
        total, n = total + part.double().sum(0), n + len(part)
    mean = total / n
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in parts():
        centred = part.double() - mean
        scatter += centred.T @ centred
    values, basis = torch.linalg.eigh(scatter / max(1, n - 1))
    count = min(count, len(mean), n - 1)
    order = torch.arange(len(mean) - 1, len(mean) - 1 - count, -1)
    axes = basis[:, order]
    return Components(mean.float(), axes.float(), values[order].clamp(min=0).float())
