"""Models whose answer to an image is not one answer."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.random import permutation
from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

ROUNDING = 1e-4
"""Change of a logit, as a share of the largest logit, that counts as rounding in float32."""

RANDOM = Kind(
    "non-deterministic model",
    "the same images in the same batch are answered differently when shown again; attacks see "
    "another model at every step, and a sample that stands may have stood by luck",
    "remove what is random or remembers, or attack the mean of many draws with EOT, and judge "
    "each sample by many draws",
    masks=True,
)
BATCH = Kind(
    "answers depend on the batch",
    "what the model says of an image depends on the images beside it; robustness measured in "
    "one batch says nothing of another",
    "put batch normalisation in evaluation mode, and let no statistic of the batch into an answer",
)


def same_batch_twice(part: Slice) -> Flag | None:
    """Show the same batches twice, and compare; 2 forward passes a sample.

    Args:
        part: The samples.

    Returns:
        `non-deterministic model`, or None where changes are rounding.
    """
    first, again = part.logits(part.x), part.logits(part.x)
    return _compared(RANDOM, part, first, again)


def another_batch(part: Slice) -> Flag | None:
    """Show the samples in another order and in halves; 2 forward passes a sample.

    Args:
        part: The samples, at least 2, of a model that answers the same batch equally.

    Returns:
        `answers depend on the batch`, or None where changes are rounding.
    """
    if len(part) < 2:
        return None
    first = part.logits(part.x)
    order = permutation(part.streams.derive("order").key, len(part)).to(part.x.device)
    again = torch.empty_like(first)
    for half in order.tensor_split(2):
        rows = half.sort().values
        again[rows] = part.at(rows).logits(part.x[rows])
    return _compared(BATCH, part, first, again)


def _compared(kind: Kind, part: Slice, first: Tensor, again: Tensor) -> Flag | None:
    change = (first - again).abs().amax(1)
    scale = torch.maximum(first.abs().amax(1), again.abs().amax(1)).clamp_min(1e-30)
    changed = change > ROUNDING * scale
    if not bool(changed.any()):
        return None
    flipped = first.argmax(1) != again.argmax(1)
    share = float((change / scale).max())
    return kind.raised(
        f"logits of {int(changed.sum())} of {len(part)} samples changed, by up to "
        f"{100 * share:.2g} % of the largest; {int(flipped.sum())} predictions changed",
        part.keys[changed],
    )
