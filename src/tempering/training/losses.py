"""What an objective returned, checked and summed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import TemperingError, type_and_message
from tempering.training.objective import Batch, Losses, Objective


def checked(objective: Objective, model: nn.Module, batch: Batch) -> Losses:
    """The losses of an objective, of which shape and values are checked.

    Raises:
        TemperingError: If the objective fails, or returns no finite loss a sample.
    """
    try:
        losses = objective(model, batch)
    except TemperingError:
        raise
    except Exception as error:
        raise TemperingError(
            f"objective {objective.name} failed at step {batch.step + 1}: {type_and_message(error)}"
        ) from error
    if not isinstance(losses, Losses):
        raise TemperingError(
            f"objective {objective.name} returned {type(losses).__name__}: return Losses"
        )
    if losses.per_sample.shape != batch.y.shape:
        raise TemperingError(
            f"objective {objective.name} returned losses of shape "
            f"{tuple(losses.per_sample.shape)} for {len(batch.y)} samples: return one a sample"
        )
    if losses.logits.shape[:1] != batch.y.shape or losses.logits.ndim != 2:
        raise TemperingError(
            f"objective {objective.name} returned logits of shape {tuple(losses.logits.shape)} "
            f"for {len(batch.y)} samples: return shape ({len(batch.y)}, outputs)"
        )
    return losses


def total_loss(losses: Losses, batch: Batch) -> Tensor:
    """The weighted loss of this process's part of a batch, a scalar."""
    return (losses.per_sample * batch.weights.to(losses.per_sample.device)).sum()


def mean_scalars(losses: Losses) -> dict[str, float]:
    """What an objective logs, as plain numbers."""
    return {name: float(torch.as_tensor(value).detach()) for name, value in losses.scalars.items()}
