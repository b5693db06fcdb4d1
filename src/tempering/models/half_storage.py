"""Weights stored in float16, half the size, and loaded in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.files import write_with


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors; those in float32 are rounded to float16.

    Raises:
        ModelError: If a value is too large for float16.

    Example:
        >>> halved({"w": torch.tensor([0.1])})["w"].dtype
        torch.float16
    """
    half = {
        name: value.half() if value.dtype == torch.float32 else value
        for name, value in tensors.items()
    }
    for name, value in half.items():
        if value.dtype == torch.float16 and not bool(value.isfinite().all()):
            raise ModelError(
                f"{name} has values beyond {torch.finfo(torch.float16).max:g}, the largest of "
                "float16: keep this model in float32"
            )
    return half


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors; those in float16 become float32, without a change of their values.

    Example:
        >>> widened({"w": torch.tensor([0.5]).half()})["w"].dtype
        torch.float32
    """
    return {
        name: value.float() if value.dtype == torch.float16 else value
        for name, value in tensors.items()
    }


def write_halved(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Write weights as `.safetensors` in float16.

    Args:
        tensors: Weights by name.
        path: The file.

    Returns:
        The weights as they will be loaded, in float32.

    Raises:
        ModelError: If a value is too large for float16.
        RunError: If the file cannot be written.
    """
    half = halved(tensors)
    content = save(half)
    write_with(path, lambda temporary: temporary.write_bytes(content))
    return widened(half)
