"""The worst case per sample over several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tempering.evaluation.outcome import Outcome, by_part


def worst_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Keep, for each sample, the run that is worst for the defender.

    The image, prediction and distance are those of the first run of the highest
    severity. A sample is stable only if no run changed it, the drop is the largest
    one, and passes add up.

    Args:
        outcomes: At least one, all over the same samples.

    Returns:
        Their worst case; a part that one of them lacks is None.

    Raises:
        ValueError: If there is no outcome.
    """
    if not outcomes:
        raise ValueError("the worst of no outcomes: give at least one")
    highest = torch.stack([outcome.severity for outcome in outcomes]).max(0).values
    run = torch.stack([outcome.severity == highest for outcome in outcomes]).long().argmax(0)

    def chosen(values: list[Tensor]) -> Tensor:
        kept = values[0].clone()
        for number, value in enumerate(values[1:], 1):
            rows = run == number
            kept[rows] = value[rows]
        return kept

    return replace(
        by_part(chosen, *outcomes),
        stable=torch.stack([outcome.stable for outcome in outcomes]).all(0),
        drop=torch.stack([outcome.drop for outcome in outcomes]).amax(0),
        forwards=torch.stack([outcome.forwards for outcome in outcomes]).sum(0),
        backwards=torch.stack([outcome.backwards for outcome in outcomes]).sum(0),
    )
