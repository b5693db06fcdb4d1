"""Paired comparison of two models by their verdicts on the same samples."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.paired import PairedCounts


def compare_paired(first: Tensor, second: Tensor) -> PairedCounts:
    """Compare two models by their verdicts on the same samples.

    Args:
        first: Whether the first model was correct (or robust) on each sample, shape (n,), bool.
        second: The same for the second model, same samples in the same order.

    Returns:
        The four counts, with their difference, confidence interval and test.

    Raises:
        UsageError: If the verdicts are not two bool vectors of the same length, at least 1.

    Example:
        >>> a = torch.tensor([True, True, True, True, True, True, False])
        >>> b = torch.tensor([True, False, False, False, False, False, False])
        >>> counts = compare_paired(a, b)
        >>> counts.first, counts.second, counts.p_value
        (5, 0, 0.0625)
    """
    for verdicts in (first, second):
        if verdicts.dtype != torch.bool or verdicts.ndim != 1:
            raise UsageError(
                f"verdicts of type {verdicts.dtype} and shape {tuple(verdicts.shape)}: "
                "give bool of shape (n,)"
            )
    if len(first) != len(second):
        raise UsageError(
            f"{len(first)} and {len(second)} verdicts: give verdicts of both models on the same "
            "samples"
        )
    first, second = first.cpu(), second.cpu()
    return PairedCounts(
        both=int((first & second).sum()),
        first=int((first & ~second).sum()),
        second=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
    )
