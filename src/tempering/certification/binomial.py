"""Confidence bounds and tests for binomial counts."""

from __future__ import annotations

import torch
from torch import Tensor


def lower_bound(hits: Tensor, n: int, alpha: float) -> Tensor:
    """The one-sided bound of Clopper and Pearson, 'The use of confidence or fiducial limits', 1934.

    Whatever the true probability of a hit, the bound lies above it with probability at most
    `alpha`, exactly and for every n. It is the probability at which `hits` or more of n have
    a chance of `alpha`: a quantile of a beta distribution.

    Args:
        hits: Successes, shape (m,), int64, from 0 to n.
        n: Independent trials, fixed before the first; at least 1.
        alpha: Chance of error, above 0 and below 1.

    Returns:
        Bounds, shape (m,), float64, from 0 to below 1.

    Example:
        >>> round(float(lower_bound(torch.tensor([100]), 100, 0.001)), 4) == round(0.001**0.01, 4)
        True
    """
    from scipy import stats  # takes as long to import as torch

    seen = hits.cpu().numpy()
    bound = stats.beta.ppf(alpha, seen.clip(min=1), n - seen + 1)
    return torch.from_numpy(bound).where(hits.cpu() > 0, 0.0)


def tie_chance(first: Tensor, second: Tensor) -> Tensor:
    """The p value of the exact two-sided test that two outcomes are equally likely.

    Args:
        first: How often the one was seen, shape (m,), int64.
        second: How often the other was, shape (m,), int64.

    Returns:
        The chance of counts as unequal as these or more, under equal probabilities; shape
        (m,), float64; 1 where nothing was seen.

    Example:
        >>> tie_chance(torch.tensor([5]), torch.tensor([0])).tolist() == [2 / 2**5]
        True
    """
    from scipy import stats

    first, second = first.cpu(), second.cpu()
    larger, n = torch.maximum(first, second), first + second
    tail = stats.binom.sf(larger.numpy() - 1, n.numpy(), 0.5)
    return torch.from_numpy(2 * tail).clamp_max(1.0)
