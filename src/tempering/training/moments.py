"""The moments of an optimizer, as tensors by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def moments_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer keeps of each parameter: `parameter/moment` -> tensor."""
    return {
        f"{name}/{moment}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def restore_moments(
    model: nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]
) -> None:
    """Give an optimizer what `moments_of` returned."""
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[name]
        state: dict[str, Any] = optimizer.state[parameter]
        device = parameter.device if moment != "step" else value.device
        state[moment] = value.detach().clone().to(device)
