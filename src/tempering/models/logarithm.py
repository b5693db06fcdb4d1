"""The logarithm of probabilities: what a softmax has made of logits, taken back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.models.checks import are_probabilities, first_answer

_SOFTMAX = (torch.softmax, Tensor.softmax, nn.functional.softmax)
_ROOM = 2.0**20
"""Above the smallest normal number: gradients, which are inverse, must not overflow."""


class Logarithm(nn.Module):
    """A model that returns probabilities, as one that returns logits.

    Where its last step is a softmax, what that is given are the logits. Elsewhere the
    logarithm undoes it up to one number an image, which changes neither the answer nor a
    difference of logits. It is taken of each probability's share of the largest one, so that
    no two that differ become equal by rounding. Where float32 has rounded a probability to
    about 0 (below 1e-32) it ends, and has no gradient.

    Attributes:
        model: From images in [0, 1] to probabilities; shared, not copied.
        adversarial_class: The model's own, if it declares one.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Softmax(1))
        >>> Logarithm(net)(torch.tensor([[[[0.0, 1.0]]]]))
        tensor([[0., 1.]])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.adversarial_class: int | None = getattr(model, "adversarial_class", None)
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        softmaxes = _Softmaxes()
        with softmaxes:
            shares: object = self.model(x)
        if not isinstance(shares, Tensor) or shares.ndim != 2 or not shares.shape[1]:
            raise ModelError(
                f"the model returned {_described(shares)} for {len(x)} images, and probabilities "
                f"before: return the same shape ({len(x)}, classes) for every batch"
            )
        logits = softmaxes.given(shares)
        if logits is not None:
            return logits
        low = _ROOM * torch.finfo(shares.dtype).tiny
        largest = shares.detach().amax(1, keepdim=True).clamp_min(low)
        return torch.log(shares.clamp_min(low) / largest)


class Peeled(nn.Sequential):
    """Layers in a row without the softmax at their end, which proofs can follow too.

    Attributes:
        model: The layers with the softmax; shared, not copied.
        adversarial_class: The model's own, if it declares one.
    """

    model: nn.Sequential

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__(*list(model)[:-1])
        self.__dict__["model"] = model  # no layer of this one
        self.adversarial_class: int | None = getattr(model, "adversarial_class", None)
        self.training = model.training


class _Softmaxes(TorchFunctionMode):
    """Within it, the last softmax over classes is remembered: what it made, and of what."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, Tensor] | None = None

    def given(self, made: object) -> Tensor | None:
        """Of what the last softmax made something, if it did."""
        return self._last[1] if self._last is not None and self._last[0] is made else None

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


def returning_logits(model: nn.Module, x: Tensor) -> nn.Module:
    """A model itself; if it returns probabilities, without its softmax, or its `Logarithm`.

    Args:
        model: Any classifier; it is left as it was.
        x: Some images in [0, 1], shape (n, c, h, w), on the model's device.

    Returns:
        What returns logits.

    Raises:
        ModelError: If the model fails on the images, or returns no (n, outputs) tensor.
    """
    with probing(model) as probe:
        found = are_probabilities(first_answer(probe, x))
    if not found:
        return model
    if isinstance(model, nn.Sequential) and _ends_in_softmax(model):
        return Peeled(model)
    return Logarithm(model)


def _ends_in_softmax(model: nn.Sequential) -> bool:
    """Whether it is layers in a row, and nothing else, with a softmax over classes at the end."""
    last = list(model)[-1]
    softmax = type(last) is nn.Softmax and last.dim in (1, -1)
    return softmax and type(model) is nn.Sequential and not (_hooked(model) or _hooked(last))


def _hooked(module: nn.Module) -> bool:
    """Whether something runs around its forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _described(outputs: object) -> str:
    shape = getattr(outputs, "shape", None)
    return type(outputs).__name__ if shape is None else f"shape {tuple(shape)}"
