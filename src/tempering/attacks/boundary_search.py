"""Binary search for the decision boundary between an image and an adversarial one."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.query_oracle import QueryOracle
from tempering.core.threats import Threat

_ROUNDS = 60


def interpolate(threat: Threat, x: Tensor, x_adv: Tensor, share: Tensor) -> Tensor:
    """Points between x (share 0) and x_adv (share 1): linear in L2, clipped in L-inf.

    Args:
        threat: Gives the norm, `l2` or `linf`.
        x: Images, shape (n, c, h, w).
        x_adv: Images, shape of x.
        share: Share of the distance between them, shape (n,).

    Returns:
        Images, shape of x.
    """
    delta = x_adv - x
    rows = share.to(x.dtype)[:, None, None, None]
    if threat.norm == "l2":
        return x + rows * delta
    cut = rows * delta.abs().amax((1, 2, 3), keepdim=True)
    return x + delta.clamp(-cut, cut)


def search_boundary(
    oracle: QueryOracle, problem: Problem, x_adv: Tensor, rows: Tensor, precision: float
) -> Tensor:
    """Move adversarial images towards their originals as far as they stay adversarial.

    Args:
        oracle: Answers queries; a row without queries stays where it is.
        problem: Images and threat.
        x_adv: Adversarial images of these rows, shape (m, c, h, w).
        rows: Samples, shape (m,), int64.
        precision: Share of the distance at which the search ends.

    Returns:
        Adversarial images, shape of x_adv.
    """
    x = problem.x[rows]
    best = x_adv.clone()
    low = torch.zeros(len(rows), dtype=torch.float64, device=x.device)
    high = torch.ones_like(low)
    for _ in range(_ROUNDS):
        wide = (high - low > precision) & (oracle.remaining(rows) > 0)
        here = wide.nonzero()[:, 0]
        if not len(here):
            break
        middle = (low[here] + high[here]) / 2
        candidates = interpolate(problem.threat, x[here], x_adv[here], middle).clamp(0.0, 1.0)
        success = oracle.fooled(candidates, rows[here])
        high[here] = torch.where(success, middle, high[here])
        low[here] = torch.where(success, low[here], middle)
        best[here[success]] = candidates[success]
    return best


def step_past_boundary(
    oracle: QueryOracle, problem: Problem, x_adv: Tensor, rows: Tensor, precision: float
) -> Tensor:
    """Move adversarial images slightly away from their originals if they stay adversarial.

    A point within rounding of the boundary may fail in another batch. An image within eps
    stays within eps.

    Args:
        oracle: Answers queries; a row without queries stays where it is.
        problem: Images and threat.
        x_adv: Adversarial images of these rows, shape (m, c, h, w).
        rows: Samples, shape (m,), int64.
        precision: How much farther, as a share of the distance.

    Returns:
        Adversarial images, shape of x_adv.
    """
    here = (oracle.remaining(rows) > 0).nonzero()[:, 0]
    x = problem.x[rows[here]]
    candidates = torch.lerp(x, x_adv[here], 1 + precision).clamp(0.0, 1.0)
    success = oracle.fooled(candidates, rows[here])
    success &= problem.threat.distance(candidates, x) <= problem.threat.eps
    out = x_adv.clone()
    out[here[success]] = candidates[success]
    return out
