"""Arguments that must be tensors."""

from __future__ import annotations

from torch import Tensor

from tempering.core.errors import DataError


def require_tensors(**values: object) -> None:
    """Refuse arrays and lists where tensors are computed with.

    Args:
        values: Arguments by name.

    Raises:
        DataError: Naming the first that is no tensor.

    Example:
        >>> import torch
        >>> require_tensors(x=torch.rand(2, 1, 4, 4), y=torch.tensor([0, 1]))
    """
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"{name} is {_described(value)}: give a tensor, such as torch.as_tensor({name})"
            )


def _described(value: object) -> str:
    kind = type(value)
    owner = kind.__module__.partition(".")[0]
    return kind.__name__ if owner == "builtins" else f"a {owner}.{kind.__name__}"
