"""Random noise of the size of a perturbation: what an attack is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.random import RandomStreams
from tempering.core.threats import Threat


def noise_of_equal_size(x: Tensor, x_adv: Tensor, threat: Threat, streams: RandomStreams) -> Tensor:
    """Give each image the pixel changes of its attack, at random places and with random signs.

    So the noise has the perturbation's size in every norm, as far as the box allows: a sign
    that leads out of [0, 1] is turned round. A patch keeps its place.

    Args:
        x: Clean images, shape (n, c, h, w).
        x_adv: Adversarial images, same shape.
        threat: What may change; noise is projected into it.
        streams: One stream a sample.

    Returns:
        Noisy images within the threat, shape of x.

    Example:
        >>> from tempering.core.threats import Linf
        >>> x = torch.full((1, 1, 2, 2), 0.5)
        >>> noisy = noise_of_equal_size(x, x + 0.1, Linf(0.1), RandomStreams.of(0, 1))
        >>> sorted({round(float(v), 3) for v in (noisy - x).abs().flatten()})
        [0.1]
    """
    n, _, height, width = x.shape
    sizes = (x_adv - x).abs().flatten(2)
    order = streams.derive("places").on(x.device).uniform((height * width,))
    moved = torch.empty_like(sizes)
    for row in range(n):
        places = torch.arange(height * width, device=x.device)
        if threat.norm == "patch":
            places = sizes[row].amax(0).nonzero()[:, 0]
        shuffled = places[order[row, places].argsort(stable=True)]
        moved[row] = 0.0
        moved[row][:, places] = sizes[row][:, shuffled]
    size = moved.reshape(x.shape)
    up = streams.derive("signs").on(x.device).uniform(x.shape[1:]) < 0.5
    change = torch.where(up, size, -size)
    out = (x + change < 0) | (x + change > 1)
    change = torch.where(out, -change, change)
    return threat.project((x + change).clamp(0.0, 1.0), x)
