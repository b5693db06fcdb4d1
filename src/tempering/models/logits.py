"""Logits of models that return probabilities."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.models.checks import are_probabilities, first_answer
from tempering.models.final_stage import FinalStage

_HEADROOM = 2.0**20
"""Factor above the smallest normal number, so that the gradient 1 / p does not overflow."""


class _Around(nn.Module):
    """A model whose outputs are returned in another form."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.adversarial_class: int | None = getattr(model, "adversarial_class", None)
        self.training = model.training


class LogProbabilities(_Around):
    """Returns logits of a model that returns probabilities.

    If the model ends in a softmax, and perhaps in further increasing functions, the input of
    the softmax is returned, unless those functions change the prediction. Otherwise the
    logarithm of the probabilities is returned. It equals the logits up to a constant for each
    image, which changes neither the prediction nor differences of logits. Probabilities are
    divided by the largest one before, so that different ones do not become equal by rounding.
    Probabilities below about 1e-32 are clamped and have no gradient.

    Attributes:
        model: From images in [0, 1] to probabilities; shared, not copied.
        adversarial_class: The model's own, if it declares one.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Softmax(1))
        >>> LogProbabilities(net)(torch.tensor([[[[0.0, 1.0]]]]))
        tensor([[0., 1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        with FinalStage() as stage:
            probabilities: object = self.model(x)
        if (
            not isinstance(probabilities, Tensor)
            or probabilities.ndim != 2
            or not probabilities.shape[1]
        ):
            raise ModelError(
                f"the model returned {_described(probabilities)} for {len(x)} images, but "
                "probabilities before: "
                f"return the same shape ({len(x)}, classes) for every batch"
            )
        logits = stage.logits_of(probabilities)
        if logits is None:
            return _logarithms(probabilities)
        return _where_equal(logits, probabilities, _logarithms)


class BeforeFinalStage(_Around):
    """Returns what the increasing functions began with that a model ends with.

    A sigmoid, a tanh or clipping keeps the order of the classes but has no gradient where it is
    flat. Predictions are those of the model: where they differ, since the functions made
    classes equal, the outputs of the model are returned.

    Attributes:
        model: From images in [0, 1] to scores; shared, not copied.
        adversarial_class: The model's own, if it declares one.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Tanh())
        >>> BeforeFinalStage(net)(torch.tensor([[[[0.0, 40.0]]]]))
        tensor([[ 0., 40.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Scores, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        with FinalStage() as stage:
            outputs: Tensor = self.model(x)
        logits = stage.logits_of(outputs)
        return outputs if logits is None else _where_equal(logits, outputs, lambda given: given)


def _where_equal(logits: Tensor, outputs: Tensor, other: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits, and another function of the outputs where these predict another class."""
    equal = logits.argmax(1, keepdim=True) == outputs.argmax(1, keepdim=True)
    return logits if bool(equal.all()) else torch.where(equal, logits, other(outputs))


def _logarithms(probabilities: Tensor) -> Tensor:
    low = _HEADROOM * torch.finfo(probabilities.dtype).tiny
    largest = probabilities.detach().amax(1, keepdim=True).clamp_min(low)
    return torch.log(probabilities.clamp_min(low) / largest)


class WithoutSoftmax(nn.Sequential):
    """A sequential model without its final softmax; it can be certified.

    Attributes:
        model: The model with its softmax; shared, not copied.
        adversarial_class: The model's own, if it declares one.
    """

    model: nn.Sequential

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__(*list(model)[:-1])
        self.__dict__["model"] = model  # not registered as a submodule
        self.adversarial_class: int | None = getattr(model, "adversarial_class", None)
        self.training = model.training


def as_logits_model(model: nn.Module, x: Tensor) -> nn.Module:
    """Wrap a model that returns probabilities, or squashes its logits, so that it returns logits.

    Args:
        model: Any classifier; it is not changed.
        x: Some images in [0, 1], shape (n, c, h, w), on the model's device.

    Returns:
        The model itself if it returns logits; otherwise `WithoutSoftmax`, `LogProbabilities` or
        `BeforeFinalStage`.

    Raises:
        ModelError: If the model fails on the images, or does not return a tensor of shape
            (n, outputs).
    """
    with probing(model) as probe:
        with FinalStage() as stage:
            outputs = first_answer(probe, x)
        squashed = stage.flattens(outputs)
    if not are_probabilities(outputs):
        return BeforeFinalStage(model) if squashed else model
    if isinstance(model, nn.Sequential) and _ends_in_softmax(model):
        return WithoutSoftmax(model)
    return LogProbabilities(model)


def _ends_in_softmax(model: nn.Sequential) -> bool:
    """Whether the model is a plain `nn.Sequential` that ends in a softmax over classes."""
    last = list(model)[-1]
    softmax = type(last) is nn.Softmax and last.dim in (1, -1)
    return softmax and type(model) is nn.Sequential and not (_hooked(model) or _hooked(last))


def _hooked(module: nn.Module) -> bool:
    """Whether hooks or a replaced forward run with the module."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _described(outputs: object) -> str:
    shape = getattr(outputs, "shape", None)
    return type(outputs).__name__ if shape is None else f"shape {tuple(shape)}"
