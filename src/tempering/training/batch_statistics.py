"""Statistics of batch normalisation, measured anew for averaged weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_Norm = nn.modules.batchnorm._BatchNorm


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether some layer keeps running statistics of batches."""
    return any(
        isinstance(layer, _Norm) and layer.running_mean is not None for layer in model.modules()
    )


def measure_batch_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of a network to their means over some batches.

    Those of averaged weights are no average of those of single weights (Izmailov et al., 2018,
    section 3.2).

    Args:
        model: The network; it is left in evaluation mode.
        batches: Images, shape (n, c, h, w), of at least two samples each.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _Norm)]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
        layer.train()
    with torch.no_grad():
        for images in batches:
            model(images.clone())
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
