"""Checks that a model is a classifier of the data, before anything is measured."""

from __future__ import annotations

from torch import Tensor, nn

from tempering.core.errors import FailedModelError, ModelError
from tempering.core.probe import Probe, probing
from tempering.models.classifier import flag_of

SUM_TOLERANCE = 1e-4
"""Largest deviation from 1 of the sum of outputs that are taken for probabilities."""


def check_classifier(model: nn.Module, x: Tensor, classes: int, data: str = "the data") -> int:
    """Run a small batch and a single image through a model; refuse it if it is not a classifier.

    Args:
        model: Any network; its mode, parameters and gradients are not changed.
        x: Some images in [0, 1], shape (n, c, h, w) with n of at least 1, on the
            model's device.
        classes: Classes of the data: labels are 0 to classes - 1.
        data: What messages call the data.

    Returns:
        The number of outputs, at least `classes`.

    Raises:
        ModelError: If the model fails on the batch or on a single image, does not return a
            finite tensor of shape (n, outputs), has fewer outputs than classes, has its
            adversarial class among the classes, or returns probabilities.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> check_classifier(net, torch.rand(2, 1, 2, 2), classes=3)
        3
    """
    if x.ndim != 4 or len(x) == 0:
        raise ModelError(
            f"images of shape {tuple(x.shape)} to check a model with: "
            "give at least one image, shape (n, channels, height, width)"
        )
    with probing(model) as probe:
        logits = first_answer(probe, x)
        probe.logits(x[:1])
    outputs = logits.shape[1]
    if outputs < classes:
        raise ModelError(
            f"the model has {outputs} outputs but the labels of {data} go up to {classes - 1}: "
            f"give the model's own data, or a model with at least {classes} outputs"
        )
    flag = getattr(model, "adversarial_class", None)
    if isinstance(flag, int) and flag < classes:
        raise ModelError(
            f"the model's output {flag} is its adversarial class but the labels of {data} go up "
            f"to {classes - 1}: give a model with at least {classes} classes besides it"
        )
    flag_of(model, classes, outputs)
    if are_probabilities(logits):
        raise ModelError("the model returns probabilities: return logits (remove the softmax)")
    return outputs


def are_probabilities(outputs: Tensor) -> bool:
    """Whether all outputs are at least 0 and the outputs of each image sum to 1.

    Example:
        >>> import torch
        >>> are_probabilities(torch.eye(3)), are_probabilities(2 * torch.eye(3))
        (True, False)
    """
    sums = outputs.sum(1)
    return bool((outputs >= 0).all()) and bool(((sums - 1).abs() <= SUM_TOLERANCE).all())


def first_answer(probe: Probe, x: Tensor) -> Tensor:
    """Logits of the first images that a model is run on, shape (n, outputs).

    Raises:
        ModelError: If the model fails on them or returns values that are not finite.
    """
    try:
        return probe.logits(x)
    except FailedModelError as error:
        raise ModelError(
            f"the model fails on images of shape {tuple(x.shape[1:])}: {error.reason}: "
            "correct the model, or give images of the shape that it takes"
        ) from error
