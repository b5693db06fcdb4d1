"""How many poisoned training samples a vote over disjoint parts withstands."""

from __future__ import annotations

import torch
from torch import Tensor


def poisons_withstood(votes: Tensor) -> Tensor:
    """The largest number of poisons that provably leave each prediction as it is.

    A poison is one training sample that was inserted, removed or relabelled. It changes one
    network of a vote that `tempering.training.train_partitions` trained, and so takes at most one
    vote from a class and gives it to another. An image that was replaced counts as two: one
    removed and one inserted. Levine and Feizi, 'Deep partition aggregation', 2021, theorem 1.

    Args:
        votes: Votes for each class, shape (n, classes), int64; the smaller class wins a tie.

    Returns:
        The number, shape (n,), int64, at least 0.

    Example:
        >>> poisons_withstood(torch.tensor([[7, 3, 0], [3, 7, 0], [5, 5, 0]]))
        tensor([2, 1, 0])
    """
    first = voted(votes)[:, None]
    classes = torch.arange(votes.shape[1], device=votes.device)
    gaps = votes.gather(1, first) - votes - (classes < first).long()
    others = gaps.masked_fill(classes == first, torch.iinfo(gaps.dtype).max)
    return others.amin(1).div(2, rounding_mode="floor")


def voted(votes: Tensor) -> Tensor:
    """The class with the most votes, the smallest one of several, shape (n,), int64.

    Args:
        votes: Votes for each class, shape (n, classes), int64.
    """
    classes = torch.arange(votes.shape[1], device=votes.device)
    return torch.where(votes == votes.amax(1, keepdim=True), classes, len(classes)).amin(1)
