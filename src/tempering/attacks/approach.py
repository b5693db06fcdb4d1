"""The way to the decision boundary: halving what is left between an image and a fooling one."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem

_ROUNDS = 60


def blend(norm: str, x: Tensor, x_adv: Tensor, share: Tensor) -> Tensor:
    """Between x (share 0) and x_adv (share 1): straight in L2; in L-inf by clipping.

    Args:
        norm: `l2` or `linf`.
        x: Images, shape (n, c, h, w).
        x_adv: Images, shape of x.
        share: Of the distance between them, shape (n,).

    Returns:
        Images, shape of x.
    """
    delta = x_adv - x
    rows = share.to(x.dtype)[:, None, None, None]
    if norm == "l2":
        return x + rows * delta
    cut = rows * delta.abs().amax((1, 2, 3), keepdim=True)
    return x + delta.clamp(-cut, cut)


def approach(
    oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor, precision: float
) -> Tensor:
    """Move fooling images towards their originals, as far as they still fool.

    Args:
        oracle: Answers, and counts; a row whose queries are spent stays where it is.
        problem: Images and norm.
        x_adv: Fooling images of these rows, shape (m, c, h, w).
        rows: Sample numbers, shape (m,), int64.
        precision: Share of the distance at which the search ends.

    Returns:
        Fooling images, shape of x_adv.
    """
    x = problem.x[rows]
    best = x_adv.clone()
    low = torch.zeros(len(rows), dtype=torch.float64, device=x.device)
    high = torch.ones_like(low)
    for _ in range(_ROUNDS):
        wide = (high - low > precision) & (oracle.left(rows) > 0)
        here = wide.nonzero()[:, 0]
        if not len(here):
            break
        middle = (low[here] + high[here]) / 2
        tried = blend(problem.threat.name, x[here], x_adv[here], middle).clamp(0.0, 1.0)
        won = oracle.fooled(tried, rows[here])
        high[here] = torch.where(won, middle, high[here])
        low[here] = torch.where(won, low[here], middle)
        best[here[won]] = tried[won]
    return best


def clear(
    oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor, precision: float
) -> Tensor:
    """Fooling images a little farther from their originals, where those fool too.

    What lies within rounding of the boundary fails in another batch. An image within eps
    stays within it.

    Args:
        oracle: Answers, and counts; a row whose queries are spent stays where it is.
        problem: Images and threat.
        x_adv: Fooling images of these rows, shape (m, c, h, w).
        rows: Sample numbers, shape (m,), int64.
        precision: How much farther, as a share of the distance.

    Returns:
        Fooling images, shape of x_adv.
    """
    here = (oracle.left(rows) > 0).nonzero()[:, 0]
    x = problem.x[rows[here]]
    tried = torch.lerp(x, x_adv[here], 1 + precision).clamp(0.0, 1.0)
    fit = oracle.fooled(tried, rows[here])
    fit &= problem.threat.distance(tried, x) <= problem.threat.eps
    out = x_adv.clone()
    out[here[fit]] = tried[fit]
    return out
