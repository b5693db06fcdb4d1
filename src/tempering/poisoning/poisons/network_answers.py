"""What a network says of all samples of a dataset."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset

BATCH = 256


def log_probabilities(network: nn.Module, data: Dataset) -> Tensor:
    """Logarithms of the probabilities of the classes, shape (n, classes), float32, on the CPU.

    Args:
        network: From images in [0, 1] to logits; outputs beyond the classes are left out.
        data: The samples.

    Raises:
        ModelError: If the network fails, or has fewer outputs than there are classes.
    """
    device, parts = device_of(network), []
    with probing(network) as probe, torch.no_grad():
        for rows in torch.split(torch.arange(len(data)), BATCH):
            logits = probe.logits(data.images(rows).to(device)).float().cpu()
            if logits.shape[1] < data.num_classes:
                raise ModelError(
                    f"the model has {logits.shape[1]} outputs for the {data.num_classes} classes "
                    f"of {data.name}: give one with an output for each class"
                )
            parts.append(logits[:, : data.num_classes].log_softmax(1))
    return torch.cat(parts)
