"""Outputs that are no logits."""

from __future__ import annotations

from dataclasses import replace

from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.models.logits import LogProbabilities, WithoutSoftmax

EXACT = 1e-4
"""How far a sum of probabilities may be from 1, or the log of one from 0."""

PROBABILITIES = Kind(
    "outputs are probabilities",
    "the model ends in a softmax, which rounds confident answers to 0 and 1 and takes their "
    "gradient with it; losses that expect logits see almost nothing",
    "return what goes into the softmax; or attack with BPDA, which passes through it",
)


def probabilities(part: Slice) -> Flag | None:
    """Look whether every row sums to 1, or is the logarithm of one that does; a forward pass each.

    Of a `LogProbabilities` or `WithoutSoftmax` the wrapped model is examined.

    Args:
        part: The samples.

    Returns:
        `outputs are probabilities`, or None.
    """
    if isinstance(part.model, LogProbabilities | WithoutSoftmax):
        part = replace(part, model=part.model.model)
    logits = part.logits(part.x).double()
    n, outputs = logits.shape
    sums = logits.sum(1)
    if bool((logits >= -EXACT).all() & ((sums - 1).abs() <= EXACT).all()):
        ends = int((logits.amax(1) >= 1 - 1e-7).sum())
        return PROBABILITIES.raised(
            f"all {n} rows of {outputs} outputs lie in [0, 1] and sum to 1; "
            f"{ends} of them say 1 exactly, as far as float32 can tell"
        )
    if bool((logits.logsumexp(1).abs() <= EXACT).all()):
        low = float(logits.min())
        return PROBABILITIES.raised(
            f"all {n} rows of {outputs} outputs are logarithms of probabilities that sum to 1, "
            f"down to {low:.3g}"
        )
    return None
