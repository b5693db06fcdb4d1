"""Draws for several steps at once: on few samples, calls cost more than numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from tempering.core.random import Draws


def ahead(draws: Draws, steps: Iterable[int], *labels: str | int) -> Draws:
    """The streams of some samples for some steps, all rows of a step together.

    Args:
        draws: One stream a sample, for n samples.
        steps: Numbers of k steps, each the last label of its streams.
        *labels: Those before it.

    Returns:
        k times n streams: those of `draws.to(*labels, step)`, step after step.

    Example:
        >>> both = ahead(Draws.of(0, 2), (5, 6)).uniform((3,))
        >>> bool((both[2:] == Draws.of(0, 2).to(6).uniform((3,))).all())
        True
    """
    parts = [draws.to(*labels, step) for step in steps]
    seeds = [torch.zeros_like(part.index) + part.seed for part in parts]
    return Draws(torch.cat(seeds), torch.cat([part.index for part in parts]))
