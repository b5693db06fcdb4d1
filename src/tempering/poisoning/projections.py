"""Principal components of many vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

NOISE = 0.02
"""Deviation of pixels that is not taken for a change."""
LARGEST, SAMPLED = 4096, 2000
"""Length of vectors up to which all count; of longer ones so many do, evenly spread."""


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

    def whitened(self, inside: Tensor, beside: Tensor, noise: float = NOISE) -> Tensor:
        """Coordinates in units of their deviations, then the distance beside in units of noise.

        Args:
            inside: Of `project`, shape (n, k).
            beside: Of `beside`, shape (n,).
            noise: Deviation of pixels that is not taken for a change.

        Returns:
            Shape (n, k + 1).
        """
        left = max(1, self.mean.numel() - len(self.variances))
        scale = (self.variances + noise**2).sqrt()
        return torch.cat([inside / scale, beside[:, None] / (noise * left**0.5)], 1)


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
    count = min(count, len(mean), n - 1)
    if len(mean) > LARGEST:
        return _of_some(parts, mean, n, min(count, SAMPLED // 2))
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in parts():
        centred = part.double() - mean
        scatter += centred.T @ centred
    values, basis = torch.linalg.eigh(scatter / max(1, n - 1))
    order = torch.arange(len(mean) - 1, len(mean) - 1 - count, -1)
    axes = basis[:, order]
    return Components(mean.float(), axes.float(), values[order].clamp(min=0).float())


def _of_some(parts: Callable[[], Iterable[Tensor]], mean: Tensor, n: int, count: int) -> Components:
    """Principal components of some long vectors, evenly spread over all."""
    step, seen, some = -(-n // SAMPLED), 0, []
    for part in parts():
        some.append(part[-seen % step :: step])
        seen += len(part)
    centred = torch.cat(some).double() - mean
    values, basis = torch.linalg.eigh(centred @ centred.T)
    order = torch.arange(len(values) - 1, len(values) - 1 - min(count, len(values) - 1), -1)
    squares = values[order].clamp(min=1e-12)
    axes = centred.T @ (basis[:, order] / squares.sqrt())
    variances = squares / max(1, len(centred) - 1)
    return Components(mean.float(), axes.float(), variances.float())
