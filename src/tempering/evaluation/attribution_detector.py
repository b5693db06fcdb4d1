"""A detector of adversarial images by their attribution: does it bear slight smoothing?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tempering.core.probe import Probe

SCORE = (
    "1 - cosine of the gradient of the predicted logit at the image and at its copy smoothed "
    "by the mean of 3 x 3 pixels"
)


def smoothed(x: Tensor) -> Tensor:
    """The mean of 3 x 3 pixels at every place, shape of x; pixels at the edge are repeated."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def attribution_scores(probe: Probe, x: Tensor, batch_size: int = 256) -> Tensor:
    """The detector's score of each image, computed from that image alone.

    Args:
        probe: The model.
        x: Images in [0, 1], shape (n, c, h, w).
        batch_size: Images at a time.

    Returns:
        From 0 (the attribution bears smoothing) to 2, shape (n,), float64; 1 where a gradient
        is zero.

    Raises:
        ModelError: If the model fails.
        NoGradientError: If its logits have no gradient.
    """
    scores = [torch.empty(0, dtype=torch.float64)]
    for at in range(0, len(x), batch_size):
        part = x[at : at + batch_size].detach()
        scores.append(score_graph(probe, part, graph=False).detach().cpu().double())
    return torch.cat(scores)


def score_graph(probe: Probe, x: Tensor, *, graph: bool = True) -> Tensor:
    """The scores of images, shape (n,); with a graph back to x, if x requires a gradient.

    Args:
        probe: The model.
        x: Images in [0, 1], shape (n, c, h, w).
        graph: Whether second derivatives are wanted.
    """
    leaf = x if x.requires_grad else x.detach().clone().requires_grad_(True)
    softer = smoothed(leaf)
    with torch.enable_grad():
        logits = probe.differentiable(leaf)
        chosen = logits.detach().argmax(1, keepdim=True)
        (first,) = torch.autograd.grad(logits.gather(1, chosen).sum(), leaf, create_graph=graph)
        inner = softer if graph else softer.detach().clone().requires_grad_(True)
        there = probe.differentiable(inner)
        (second,) = torch.autograd.grad(there.gather(1, chosen).sum(), inner, create_graph=graph)
        return 1 - _cosine(first, second)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of gradients, shape (n,); 0 where one is zero."""
    tiny = torch.finfo(first.dtype).tiny
    a, b = (part.flatten(1) for part in (first, second))
    a, b = (part / part.abs().amax(1, keepdim=True).clamp_min(tiny) for part in (a, b))
    size = (a.square().sum(1) * b.square().sum(1)).clamp_min(tiny).sqrt()
    return (a * b).sum(1) / size
