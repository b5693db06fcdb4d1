"""Stratified splits."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.random import RandomStreams, derive, permutation


def stratified(y: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split samples into a rest and a part with the same shares of the classes.

    Shares are rounded by largest remainder. The part has exactly `count` samples unless a class
    would lose its last sample to it.

    Args:
        y: Class indices, shape (n,), int64.
        count: Size of the part, 0 to n.
        seed: Seed of the random order.

    Returns:
        Indices of the rest and of the part, int64, each in the order of one random permutation.

    Example:
        >>> rest, part = stratified(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2, seed=0)
        >>> sorted(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])[part].tolist())
        [0, 1]
    """
    n = len(y)
    order = permutation(seed, n)
    sizes = torch.bincount(y)
    take = _quotas(sizes.tolist(), count)
    grouped = order[y[order].argsort(stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty(n, dtype=torch.int64)
    rank[grouped] = torch.arange(n) - starts[y[grouped]]
    taken = (rank < torch.tensor(take, dtype=torch.int64)[y])[order] if n else order.bool()
    return order[~taken], order[taken]


def stratified_order(y: Tensor, keys: Tensor, seed: int) -> Tensor:
    """An order in which the first n samples have the shares of the classes, for every n.

    Within a class the order is random by seed and id. It does not depend on the order of the
    rows.

    Args:
        y: Class indices, shape (n,), int64.
        keys: Keys of the samples' ids, shape (n,), int64.
        seed: Of the random order.

    Returns:
        Row numbers, shape (n,), int64.

    Example:
        >>> y = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> y[stratified_order(y, torch.arange(6), seed=0)].tolist()
        [0, 1, 0, 0, 1, 0]
    """
    order = RandomStreams(derive(seed, "stratified"), keys).order()
    grouped = order[y[order].argsort(stable=True)]
    sizes = torch.bincount(y)
    starts = sizes.cumsum(0) - sizes
    place = torch.arange(len(y)) - starts[y[grouped]]
    share = (place.double() + 0.5) / sizes[y[grouped]]
    return grouped[share.argsort(stable=True)]


def _quotas(sizes: list[int], count: int) -> list[int]:
    """Samples taken from each class (largest remainder method)."""
    n = max(1, sum(sizes))
    most = [max(0, size - 1) for size in sizes]
    take = [min(size * count // n, cap) for size, cap in zip(sizes, most, strict=True)]
    by_remainder = sorted(range(len(sizes)), key=lambda k: -(sizes[k] * count % n))
    while (left := count - sum(take)) > 0:
        open_ = [k for k in by_remainder if take[k] < most[k]]
        if not open_:
            break
        for k in open_[:left]:
            take[k] += 1
    return take
