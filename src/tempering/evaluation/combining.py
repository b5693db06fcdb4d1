"""The worst case per sample over several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tempering.evaluation.per_sample import PerSampleResult, by_part


def worst_of(per_samples: Sequence[PerSampleResult]) -> PerSampleResult:
    """Keep, for each sample, the run that is worst for the defender.

    The image, prediction and distance are those of the first run of the highest
    severity. A sample is stable only if no run changed it, the drop is the largest
    one, and passes add up.

    Args:
        per_samples: At least one, all over the same samples.

    Returns:
        Their worst case; a part that one of them lacks is None.

    Raises:
        ValueError: If there is no outcome.
    """
    if not per_samples:
        raise ValueError("the worst of no outcomes: give at least one")
    highest = torch.stack([per_sample.severity for per_sample in per_samples]).max(0).values
    run = (
        torch.stack([per_sample.severity == highest for per_sample in per_samples]).long().argmax(0)
    )

    def chosen(values: list[Tensor]) -> Tensor:
        kept = values[0].clone()
        for number, value in enumerate(values[1:], 1):
            rows = run == number
            kept[rows] = value[rows]
        return kept

    return replace(
        by_part(chosen, *per_samples),
        stable=torch.stack([per_sample.stable for per_sample in per_samples]).all(0),
        drop=torch.stack([per_sample.drop for per_sample in per_samples]).amax(0),
        forwards=torch.stack([per_sample.forwards for per_sample in per_samples]).sum(0),
        backwards=torch.stack([per_sample.backwards for per_sample in per_samples]).sum(0),
    )
