"""CROWN once more, with matrices, straight from Zhang et al. (2018), theorem 3.2 and corollary 3.3.

For networks of linear layers with ReLU between them, in L-inf, without the box: hidden bounds
layer by layer, upper lines by chords, lower lines of slope 0 or 1, whichever leaves less.
"""

import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]


def _relaxed(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes above, intercepts above, slopes below, by the cases of table 2."""
    above, intercept, below = torch.zeros_like(low), torch.zeros_like(low), torch.zeros_like(low)
    for i in range(len(low)):
        if low[i] >= 0:
            above[i] = below[i] = 1.0
        elif high[i] > 0:
            above[i] = high[i] / (high[i] - low[i])
            intercept[i] = -low[i]
            below[i] = 1.0 if high[i] > -low[i] else 0.0
    return above, intercept, below


def margins(layers: Layers, c: Tensor, x: Tensor, eps: float) -> Tensor:
    """Lower bounds of c f(z) for all z with |z - x| <= eps, shape (len(c),)."""
    known: list[tuple[Tensor, Tensor]] = []
    for count in range(1, len(layers)):
        size = len(layers[count - 1][1])
        unit = torch.eye(size, dtype=x.dtype)
        low = _backward(layers[:count], known, unit, x, eps)
        high = -_backward(layers[:count], known, -unit, x, eps)
        known.append((low, high))
    return _backward(layers, known, c, x, eps)


def _backward(
    layers: Layers, known: list[tuple[Tensor, Tensor]], c: Tensor, x: Tensor, eps: float
) -> Tensor:
    bounds = []
    for row in c:
        weights = row @ layers[-1][0]
        constant = row @ layers[-1][1]
        for (w, b), (low, high) in zip(reversed(layers[:-1]), reversed(known), strict=False):
            above, intercept, below = _relaxed(low, high)
            diagonal = torch.where(weights >= 0, below, above)
            constant = constant + weights.clamp_max(0.0) @ (above * intercept)
            weights = weights * diagonal
            constant = constant + weights @ b
            weights = weights @ w
        bounds.append(weights @ x + constant - eps * weights.abs().sum())
    return torch.stack(bounds)
