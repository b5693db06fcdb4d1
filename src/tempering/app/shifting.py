"""Accuracy under common corruptions, beside an evaluation under attack."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams
from tempering.core.shifts import Shift
from tempering.data.dataset import Dataset
from tempering.evaluation.context import EvalContext
from tempering.evaluation.corruptions import CORRUPTIONS
from tempering.evaluation.shifts import measure_shifts
from tempering.evaluation.target import Target

ALL = "all"


def parse_shifts(text: str, data: Dataset) -> tuple[str, ...]:
    """Which corruptions are asked for; whether each can be made of these images.

    Args:
        text: `all`, or names with commas between.
        data: The images.

    Returns:
        Names, each once, in the order of reports.

    Raises:
        UnknownNameError: If there is no corruption of a name.
        UsageError: If nothing is named, or a library is missing.
        DataError: If a corruption cannot be made of such images.
    """
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if not asked:
        raise UsageError(f"shifts {text!r}: give all, or names such as noise,blur")
    kinds = [CORRUPTIONS[name] for name in (CORRUPTIONS if asked == [ALL] else asked)]
    for kind in kinds:
        kind.require()
        kind(data.x[:1], 1, RandomStreams.of(0, 1))
    wanted = {kind.name for kind in kinds}
    return tuple(name for name in CORRUPTIONS if name in wanted)


def measure(context: EvalContext, target: Target, names: Sequence[str]) -> list[Shift]:
    """Count right answers under corruptions at all severities.

    Args:
        context: Data, engine and seed.
        target: The model.
        names: Corruptions.

    Raises:
        ModelError: If the model does not answer with finite logits.
    """
    found = measure_shifts(context, target, names)
    shifts = [
        Shift(
            subject=target.subject,
            corruption=one.corruption,
            severity=one.severity,
            amount=one.amount,
            unit=one.unit,
            clean=found.clean,
            correct=one.correct,
            seed=context.seed,
            weights=target.weights,
            data_hash=context.data.content_hash,
        )
        for one in found.shifted
    ]
    return [shifts[0].model_copy(update={"cost": found.cost}), *shifts[1:]]
