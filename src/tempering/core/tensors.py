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
        >>> require_tensors(images=torch.rand(2, 1, 4, 4), labels=torch.tensor([0, 1]))
    """
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"{name} of type {type(value).__name__}: give a torch.Tensor, such as "
                f"torch.as_tensor({name})"
            )
