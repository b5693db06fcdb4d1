"""Logits of models that return probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.models.checks import are_probabilities, first_answer

_SOFTMAX = (torch.softmax, Tensor.softmax, nn.functional.softmax)
_HEADROOM = 2.0**20
"""Factor above the smallest normal number, so that the gradient 1 / p does not overflow."""


class LogProbabilities(nn.Module):
    """Returns logits of a model that returns probabilities.

    If the last operation of the model is a softmax, its input is returned. Otherwise the
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

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.adversarial_class: int | None = getattr(model, "adversarial_class", None)
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        recorder = _SoftmaxRecorder()
        with recorder:
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
        logits = recorder.input_of(probabilities)
        if logits is not None:
            return logits
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


class _SoftmaxRecorder(TorchFunctionMode):
    """Context that remembers input and output of the last softmax over classes."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, Tensor] | None = None

    def input_of(self, output: object) -> Tensor | None:
        """The input of the last softmax if this is its output, else None."""
        return self._last[1] if self._last is not None and self._last[0] is output else None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function."""
        given = kwargs or {}
        out = func(*args, **given)
        if func in _SOFTMAX and args:
            dim = given.get("dim", args[1] if len(args) > 1 else None)
            if out.ndim == 2 and dim in (1, -1):
                self._last = (out, args[0])
        return out


def as_logits_model(model: nn.Module, x: Tensor) -> nn.Module:
    """Wrap a model that returns probabilities, so that it returns logits.

    Args:
        model: Any classifier; it is not changed.
        x: Some images in [0, 1], shape (n, c, h, w), on the model's device.

    Returns:
        The model itself if it returns logits; otherwise `WithoutSoftmax` or `LogProbabilities`.

    Raises:
        ModelError: If the model fails on the images, or does not return a tensor of shape
            (n, outputs).
    """
    with probing(model) as probe:
        probabilities = are_probabilities(first_answer(probe, x))
    if not probabilities:
        return model
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
