"""Predictions without attack, and whether there is time for them."""

from __future__ import annotations

import time

import torch

from tempering.core.deadline import Deadline
from tempering.core.errors import UsageError
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Predictions, predict_samples


def predict_in_time(
    context: EvalContext, target: Target, seconds: float | None, deadline: Deadline
) -> Predictions:
    """Predict every sample once, if the time suffices; the first batch tells.

    Args:
        context: Data and engine.
        target: The model.
        seconds: The time limit; None for none.
        deadline: When it ends.

    Raises:
        UsageError: If the time does not suffice.
        ModelError: If the model does not answer with finite logits.
    """
    if seconds is None:
        return predict_samples(context, target)
    first = min(context.batch_size, context.n)
    began = time.perf_counter()
    start = predict_samples(context, target, torch.arange(first))
    needed = (time.perf_counter() - began) * context.n / first
    if not context.engine.broadcast(needed < deadline.left):
        raise UsageError(
            f"{seconds:.3g} seconds are left for {context.n} samples, which take about "
            f"{needed:.2g} s without any attack: give more time or fewer samples"
        )
    rest = predict_samples(context, target, torch.arange(first, context.n))
    return Predictions(
        torch.cat([start.predicted[:first], rest.predicted[first:]]),
        torch.cat([start.probability[:first], rest.probability[first:]]),
        start.cost + rest.cost,
    )
