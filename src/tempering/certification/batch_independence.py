"""Whether the answer to an image depends on the other images of its batch."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.certification.fixed_function import seeded
from tempering.core.errors import ModelError
from tempering.core.outputs import logits_in
from tempering.core.probe import Probe

_ROUNDING = 1e-3
"""Relative change of logits that counts as rounding."""


def require_batch_independence(probe: Probe, x: Tensor) -> None:
    """Refuse a model that gives an image other logits beside other images.

    A vote counts answers that are independent of each other: with batch statistics they are not,
    and the noise of a batch cancels out. One image is passed beside black and beside white ones,
    with the same random numbers; a model that answers differently even beside the same ones is
    not judged.

    Args:
        probe: The model.
        x: Images, shape (n, c, h, w).

    Raises:
        ModelError: If it does.
    """
    if not len(x):
        return
    image = x[:1]
    black, white = (
        torch.cat([image, torch.full_like(image, value).expand(3, -1, -1, -1)])
        for value in (0.0, 1.0)
    )
    first, again, other = (_first_row(probe, batch) for batch in (black, black, white))
    if first is None or again is None or other is None or not torch.equal(first, again):
        return
    scale = torch.maximum(first.abs().max(), other.abs().max())
    if bool((first - other).abs().max() > _ROUNDING * scale):
        raise ModelError(
            "the logits of an image depend on the other images of its batch: its votes are not "
            "independent, and prove nothing; use no statistics of the batch at inference"
        )


def _first_row(probe: Probe, batch: Tensor) -> Tensor | None:
    """The logits of the first image; None if they are none."""
    with torch.no_grad(), seeded(0, batch.device):
        logits = logits_in(probe.answer(batch))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(batch):
        return None
    row: Tensor = logits[0].double()
    return row if bool(row.isfinite().all()) else None
