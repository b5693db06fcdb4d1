"""RandomStreams for several steps at once: on few samples, calls cost more than numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from tempering.core.random import RandomStreams


def ahead(streams: RandomStreams, steps: Iterable[int], *labels: str | int) -> RandomStreams:
    """The streams of some samples for some steps, all rows of a step together.

    Args:
        streams: One stream a sample, for n samples.
        steps: Numbers of k steps, each the last label of its streams.
        *labels: Those before it.

    Returns:
        k times n streams: those of `streams.derive(*labels, step)`, step after step.

    Example:
        >>> both = ahead(RandomStreams.of(0, 2), (5, 6)).uniform((3,))
        >>> bool((both[2:] == RandomStreams.of(0, 2).derive(6).uniform((3,))).all())
        True
    """
    parts = [streams.derive(*labels, step) for step in steps]
    seeds = [torch.zeros_like(part.index) + part.seed for part in parts]
    return RandomStreams(torch.cat(seeds), torch.cat([part.index for part in parts]))
