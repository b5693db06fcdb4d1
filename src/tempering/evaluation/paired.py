"""Two models on the same samples: which is better, and how sure that is."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.paired import Paired


def compare_paired(first: Tensor, second: Tensor) -> Paired:
    """Compare two models by their verdicts on the same samples.

    Args:
        first: Whether the first model was right, or stood, on each sample, shape (n,), bool.
        second: The same of the second model, on the same samples in the same order.

    Returns:
        The four counts, with test, difference and interval.

    Raises:
        UsageError: If these are not two vectors of verdicts on the same number of samples,
            at least one.

    Example:
        >>> a = torch.tensor([True, True, True, True, True, True, False])
        >>> b = torch.tensor([True, False, False, False, False, False, False])
        >>> found = compare_paired(a, b)
        >>> found.first, found.second, found.p_value
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
            f"{len(first)} verdicts beside {len(second)}: give both models' on the same samples"
        )
    first, second = first.cpu(), second.cpu()
    return Paired(
        both=int((first & second).sum()),
        first=int((first & ~second).sum()),
        second=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
    )
