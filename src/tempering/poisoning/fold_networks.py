"""Small networks trained on folds of data: each sample is judged by one that never saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.errors import DataError
from tempering.core.progress import track
from tempering.core.random import derive, permutation
from tempering.data.dataset import Dataset
from tempering.models.registry import build

BATCH = 64
EPOCHS = 4
FEWEST, MOST = 150, 2000
"""Steps of one network at least and at most. Triggers are learned within 150, and more steps on
1,000 or 2,000 images find fewer poisons."""
LEARNING_RATE = 4e-3


def fold_networks(data: Dataset, fold: Tensor, seed: int) -> tuple[nn.Module, ...]:
    """Train a network for each fold on the samples of all others.

    Args:
        data: Training data with labels as they are, images of at least 4 x 4 pixels.
        fold: The fold of each sample, from 0, shape (n,), int64.
        seed: Of first weights and batches.

    Returns:
        The networks in the order of the folds, in evaluation mode.

    Raises:
        DataError: If a loss is no longer finite.
    """
    parts = [(fold != k).nonzero()[:, 0] for k in range(int(fold.max()) + 1)]
    steps = [min(MOST, max(FEWEST, EPOCHS * -(-len(rows) // BATCH))) for rows in parts]
    networks: list[nn.Module] = []
    with torch.enable_grad(), track("training small networks on the data", sum(steps)) as advance:
        for k, rows in enumerate(parts):
            before = sum(steps[:k])

            def advance_from(step: int, text: str, before: int = before) -> None:
                advance(before + step, text)

            networks.append(_train(data, rows, steps[k], derive(seed, "fold", k), advance_from))
    return tuple(networks)


def _train(
    data: Dataset, rows: Tensor, steps: int, seed: int, advance: Callable[[int, str], None]
) -> nn.Module:
    options = {"squeeze": None, "adversarial_class": False}
    network = build("strided_cnn", data.shape, data.num_classes, seed=seed, **options)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for step, batch in zip(range(1, steps + 1), _batches(rows, seed), strict=False):
        loss = F.cross_entropy(network(data.images(batch)), data.y[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        plan.step()
        advance(step, f"loss {loss.item():.3f}")
    if not bool(torch.isfinite(loss)):
        raise DataError(
            f"{data.name}: a small network does not train on it, its loss is {loss.item()}: "
            "give a trained model for the features"
        )
    return network.eval()


def _batches(rows: Tensor, seed: int) -> Iterator[Tensor]:
    """Mini-batches of shuffled rows without end."""
    epoch = 0
    while True:
        yield from torch.split(rows[permutation(derive(seed, "epoch", epoch), len(rows))], BATCH)
        epoch += 1
