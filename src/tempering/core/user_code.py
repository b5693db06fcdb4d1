"""The boundary around code of users: each of its failures becomes one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tempering.core.errors import ModelError, TemperingError, type_and_message
from tempering.core.global_settings import torch_settings_kept


@contextmanager
def users_code(doing: str, remedy: str) -> Iterator[None]:
    """Turn an exception of a user's code, also an exit of it, into a `ModelError`.

    Settings of torch that the code changes are put back.

    Args:
        doing: What failed, such as `the model cannot be copied`.
        remedy: What would be right.

    Raises:
        ModelError: With the exception's type, message and place in the user's code.

    Example:
        `with users_code("the model cannot be copied", "give file.py:factory"): ...`
    """
    try:
        with torch_settings_kept():
            yield
    except TemperingError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{doing}: {type_and_message(error)}: {remedy}") from error


def set_evaluation_mode(model: nn.Module) -> nn.Module:
    """Put a model into evaluation mode, and return it.

    Exported programs refuse `eval()`: they have the mode in which they were exported.

    Raises:
        ModelError: If its `eval` fails.
    """
    with users_code("the model's eval() fails", "correct eval() and train() of the model"):
        try:
            model.eval()
        except NotImplementedError:
            for module in model.modules():
                module.training = False
    return model


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies; the CPU if it has no tensors.

    Example:
        >>> device_of(nn.Flatten())
        device(type='cpu')
    """
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def moved(model: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """Move a model to a device, and its weights to a type, unless they are so already.

    Raises:
        ModelError: If its `to` fails.
    """
    tensors = [*model.parameters(), *model.buffers()]
    here = all(_lies_on(tensor, device) for tensor in tensors)
    floats = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
    if here and (dtype is None or all(kind == dtype for kind in floats)):
        return model
    remedy = "correct to() of the model, or compute where it lies"
    with users_code(f"the model cannot be moved to {device}", remedy):
        return model.to(device, dtype)


def _lies_on(tensor: torch.Tensor, device: torch.device) -> bool:
    return tensor.device.type == device.type and device.index in (None, tensor.device.index)
