"""A small network trained on the data in question: what an attacker has who knows the data."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tempering.core.errors import DataError
from tempering.core.progress import track
from tempering.core.random import derive, permutation
from tempering.data.dataset import Dataset
from tempering.models.registry import build

BATCH = 64
EPOCHS = 5
FEWEST, MOST = 150, 2000
"""Steps at least and at most."""
LEARNING_RATE = 2e-3


def small_network(data: Dataset, seed: int) -> nn.Module:
    """Train a small CNN on images and labels as they are.

    Args:
        data: Training data, images of at least 4 x 4 pixels.
        seed: Of first weights and batches.

    Returns:
        The network, in evaluation mode, with logits for the classes alone.

    Raises:
        DataError: If the loss is no longer finite.

    Example:
        >>> data = Dataset.of(torch.rand(80, 8, 8), torch.arange(80) % 2)
        >>> small_network(data, seed=0)(data.x[:3]).shape
        torch.Size([3, 2])
    """
    options = {"squeeze": None, "adversarial_class": False}
    network = build("strided_cnn", data.shape, data.num_classes, seed=seed, **options)
    steps = min(MOST, max(FEWEST, EPOCHS * -(-len(data) // BATCH)))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    batches = iter(torch.empty(0, 0, dtype=torch.int64))
    epoch = 0
    with torch.enable_grad(), track("training a small network", steps) as advance:
        for step in range(steps):
            rows = next(batches, None)
            if rows is None:
                order = permutation(derive(seed, "epoch", epoch), len(data))
                batches, epoch = iter(torch.split(order, BATCH)), epoch + 1
                rows = next(batches)
            loss = F.cross_entropy(network(data.images(rows)), data.y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            advance(step + 1, f"loss {loss.item():.3f}")
    if not bool(torch.isfinite(loss)):
        raise DataError(
            f"{data.name}: a small network does not train on it, its loss is {loss.item()}: "
            "give a trained model"
        )
    return network.eval()
