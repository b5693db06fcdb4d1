"""Whether a model is a classifier of this data, asked before anything is measured."""

from __future__ import annotations

from torch import Tensor, nn

from tempering.core.errors import ModelError, TemperingError
from tempering.core.probe import Probe, probing
from tempering.models.classifier import flag_of

SUM_TOLERANCE = 1e-4
"""How far from 1 the outputs of an image may sum and still look like probabilities."""


def check_classifier(model: nn.Module, x: Tensor, classes: int) -> int:
    """Run a small batch through a model, and refuse what is no classifier of it.

    Args:
        model: Any network; its mode, parameters and gradients stay as they are.
        x: Some images in [0, 1], shape (n, c, h, w) with n of at least 1, on the
            model's device.
        classes: Classes of the data: labels are 0 to classes - 1.

    Returns:
        The number of outputs, at least `classes`.

    Raises:
        ModelError: If the model fails on the images, returns no finite tensor of shape
            (n, outputs), has fewer outputs than classes, has its adversarial class
            among them, or returns probabilities.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> check_classifier(net, torch.rand(2, 1, 2, 2), classes=3)
        3
    """
    if x.ndim != 4 or len(x) == 0:
        raise ModelError(
            f"images of shape {tuple(x.shape)} to check a model with: "
            "give at least one, shape (n, channels, height, width)"
        )
    with probing(model) as probe:
        logits = _answer(probe, x)
    outputs = logits.shape[1]
    if outputs < classes:
        raise ModelError(
            f"the model has {outputs} outputs but labels go up to {classes - 1}: "
            f"give a model with at least {classes} outputs"
        )
    flag = getattr(model, "adversarial_class", None)
    if isinstance(flag, int) and flag < classes:
        raise ModelError(
            f"the model's output {flag} is its adversarial class but labels go up to "
            f"{classes - 1}: give a model with at least {classes} classes besides it"
        )
    flag_of(model, classes, outputs)
    sums = logits.sum(1)
    if bool((logits >= 0).all()) and bool(((sums - 1).abs() <= SUM_TOLERANCE).all()):
        raise ModelError("the model returns probabilities: return logits (remove the softmax)")
    return outputs


def _answer(probe: Probe, x: Tensor) -> Tensor:
    try:
        return probe.logits(x)
    except TemperingError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the model fails on images of shape {tuple(x.shape[1:])}: {reason}: "
            "give a model for images of this shape"
        ) from error
