"""The paper's preprocessing of images and labels (Section III)."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import DataError, UsageError
from tempering.core.tensors import require_tensors


def min_max_normalize(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Normalise values to [0, 1]: (x - low) / (high - low), eq. 1 of the paper.

    Use the bounds of the training data for test data too, so that no test data leaks.

    Args:
        x: Images in any units, any shape, any dtype.
        low: Value mapped to 0; None takes the minimum of x.
        high: Value mapped to 1; None takes the maximum of x.

    Returns:
        Values in [0, 1], shape of x, float32.

    Raises:
        DataError: If x is empty, not finite, constant, or outside [low, high].

    Example:
        >>> min_max_normalize(torch.tensor([0, 51, 255]))
        tensor([0.0000, 0.2000, 1.0000])
    """
    require_tensors(x=x)
    values = x if x.dtype == torch.float64 else x.float()
    if values.numel() == 0:
        raise DataError(f"values of shape {tuple(x.shape)} to normalise: give at least one")
    smallest, largest = (float(bound) for bound in values.aminmax())
    low = smallest if low is None else float(low)
    high = largest if high is None else float(high)
    if not (low <= smallest and largest <= high):
        raise DataError(
            f"values from {smallest:g} to {largest:g} are outside {low:g} to {high:g}: "
            "give finite values, and bounds that include them"
        )
    if not low < high < float("inf") or low == float("-inf"):
        raise DataError(
            f"values from {low:g} to {high:g} have no finite range to normalise: "
            "give at least two different finite values"
        )
    return ((values - low) / (high - low)).float()


def explicit_channel(x: Tensor) -> Tensor:
    """Add the channel dimension: (n, h, w) becomes (n, 1, h, w); 4 dimensions stay."""
    return x[:, None] if x.ndim == 3 else x


def one_hot(y: Tensor, outputs: int) -> Tensor:
    """One-hot labels: 1 for the true class and 0 elsewhere.

    Args:
        y: Class indices, shape (n,), int64, 0 to outputs - 1.
        outputs: Outputs of the model.

    Returns:
        Shape (n, outputs), float32.

    Example:
        >>> one_hot(torch.tensor([1]), 3)
        tensor([[0., 1., 0.]])
    """
    return torch.zeros(len(y), outputs, device=y.device).scatter_(1, y[:, None], 1.0)


def soft_labels(y: Tensor, outputs: int, classes: int, smoothing: float) -> Tensor:
    """Smoothed labels: a share is spread over all classes (Szegedy et al., 2016).

    Args:
        y: Class indices, shape (n,), int64, 0 to classes - 1.
        outputs: Outputs of the model, at least `classes`.
        classes: Classes of the data; further outputs, such as the adversarial class, get 0.
        smoothing: Share in [0, 1); 0 gives one-hot labels.

    Returns:
        Shape (n, outputs), float32; rows sum to 1.

    Raises:
        UsageError: If there are more classes than outputs, or the share is invalid.

    Example:
        >>> soft_labels(torch.tensor([0]), outputs=3, classes=2, smoothing=0.2)
        tensor([[0.9000, 0.1000, 0.0000]])
    """
    if classes > outputs:
        raise UsageError(f"{classes} classes for {outputs} outputs: give at least as many outputs")
    if not 0 <= smoothing < 1:
        raise UsageError(f"smoothing {smoothing}: give a share of at least 0 and below 1")
    labels = one_hot(y, outputs) * (1.0 - smoothing)
    labels[:, :classes] += smoothing / classes
    return labels


def adversarial_labels(y: Tensor, outputs: int, flag: int, lam: Tensor) -> Tensor:
    """Labels of adversarial samples: (1 - lam) * true class + lam * adversarial class.

    Args:
        y: True classes, shape (n,), int64.
        outputs: Outputs of the model.
        flag: Index of the adversarial class.
        lam: Share of the adversarial class in each label, in [0, 1], shape (n,).

    Returns:
        Shape (n, outputs), float32; rows sum to 1.

    Raises:
        UsageError: If the adversarial class is not an output.

    Example:
        >>> adversarial_labels(torch.tensor([0]), 3, flag=2, lam=torch.tensor([0.25]))
        tensor([[0.7500, 0.0000, 0.2500]])
    """
    if not 0 <= flag < outputs:
        raise UsageError(f"adversarial class {flag} of {outputs} outputs: give 0 to {outputs - 1}")
    share = lam.to(torch.float32)[:, None]
    labels = one_hot(y, outputs) * (1.0 - share)
    labels[:, flag] += share[:, 0]
    return labels
