"""What an attack or a judge sees of a model: logits and input gradients, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from tempering.core.backward import declared_hooks, foreign_stages
from tempering.core.errors import (
    FailedModelError,
    ModelError,
    NoGradientError,
    TemperingError,
)
from tempering.core.layout import channels_last, contiguous_again
from tempering.core.memory import keep_freed_memory
from tempering.core.naming import sample_name
from tempering.core.passes import note
from tempering.core.tally import tally

T = TypeVar("T")
Loss = Callable[[Tensor], Tensor]
"""Logits, shape (n, outputs), to one loss a sample, shape (n,), or to several, (n, m)."""


class Probe:
    """A frozen model in evaluation mode; gradients are those that its stages declare.

    Attributes:
        model: The network; its parameters take no gradient.
        stateful: Whether an answer depends on what the same sample was shown before, so that
            a sample may not be shown twice at a time.
    """

    stateful: bool = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        tensors = chain(model.parameters(), model.buffers())
        first = next((one for one in tensors if one.is_floating_point()), None)
        self.dtype = torch.float32 if first is None else first.dtype
        self._foreign_stages = foreign_stages(model)

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        note(forward=len(x))
        tally("forward", index)
        try:
            logits = self.model(x)
        except TemperingError:
            raise
        except Exception as error:
            raise FailedModelError(len(x), tuple(x.shape[1:]), error) from error
        if not isinstance(logits, Tensor):
            raise ModelError(
                f"the model returned {type(logits).__name__}, not a tensor: "
                "return logits of shape (n, classes)"
            )
        if logits.ndim != 2 or len(logits) != len(x):
            raise ModelError(
                f"the model returned shape {tuple(logits.shape)} for {len(x)} images: "
                f"return logits of shape ({len(x)}, classes)"
            )
        return logits

    def _retried(self, compute: Callable[[], T]) -> T:
        """Compute; once more with contiguous filters if `view` refused channels last."""
        try:
            return compute()
        except (RuntimeError, FailedModelError):
            if not contiguous_again(self.model):
                raise
            return compute()

    def logits(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Logits of images, shape (n, outputs), in at least float32; counts a forward pass each.

        Args:
            x: Images in [0, 1], shape (n, c, h, w).
            index: Which sample each row is (`RandomStreams.index`), shape (n,); counts passes and
                names samples in messages.

        Raises:
            ModelError: If the model fails, or returns no finite (n, outputs) tensor.
        """
        with torch.no_grad():
            logits = self._retried(lambda: _precise(self._forward(x.to(self.dtype), index)))
        if not bool(logits.sum().isfinite()):
            _check_finite("logits", logits, index)
        return logits

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits and the gradient of each sample's loss with respect to its image.

        Args:
            x: Images in [0, 1], shape (n, c, h, w).
            loss: From logits to one loss a sample.
            index: Which sample each row is (`RandomStreams.index`), shape (n,); counts passes and
                names samples in messages.

        Returns:
            Logits, shape (n, outputs), and gradients, shape and dtype of x.

        Raises:
            ModelError: If the model fails, or returns no finite (n, outputs) tensor, or no finite
                gradient: an attack that follows a gradient of NaN, or none, sees nothing
                and would call the model robust.
        """
        logits, (gradient,) = self._differentiate(x, lambda logits: (loss(logits),), index)
        return logits, gradient

    def gradients(
        self, x: Tensor, losses: Loss, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits and the gradients of several losses a sample, from one forward pass.

        Args:
            x: Images in [0, 1], shape (n, c, h, w).
            losses: From logits to m losses a sample, shape (n, m).
            index: Which sample each row is (`RandomStreams.index`), shape (n,); counts passes and
                names samples in messages.

        Returns:
            Logits, shape (n, outputs), and gradients, shape (n, m, c, h, w), dtype of x;
            m backward passes a sample.

        Raises:
            ModelError: As `gradient`.
        """
        logits, parts = self._differentiate(x, lambda logits: losses(logits).unbind(1), index)
        return logits, torch.stack(parts, 1)

    def _differentiate(
        self, x: Tensor, losses: Callable[[Tensor], Sequence[Tensor]], index: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        logits, found = self._retried(lambda: self._linearize(x, losses, index))
        note(backward=len(x) * len(found))
        for _ in found:
            tally("backward", index)
        logits = logits.detach()
        if not bool((logits.sum() + sum(gradient.sum() for gradient in found)).isfinite()):
            _check_finite("logits", logits, index)
            for gradient in found:
                _check_finite("gradients", gradient, index)
        return logits, [gradient.to(x.dtype) for gradient in found]

    def _linearize(
        self, x: Tensor, losses: Callable[[Tensor], Sequence[Tensor]], index: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        with torch.enable_grad():
            leaf = x.detach().to(self.dtype).requires_grad_(True)
            with declared_hooks(self._foreign_stages):
                logits = _precise(self._forward(leaf, index))
            if not logits.requires_grad:
                raise NoGradientError(_NO_GRADIENT)
            heads = losses(logits)
            found = []
            for number, head in enumerate(heads, 1):
                (gradient,) = torch.autograd.grad(
                    head.sum(), leaf, retain_graph=number < len(heads), allow_unused=True
                )
                if gradient is None:
                    raise NoGradientError(_NO_GRADIENT)
                found.append(gradient)
        return logits, found


_NO_GRADIENT = (
    "the model's logits have no gradient with respect to its images: "
    "remove detach() and no_grad(), pass the gradient straight through, or attack with BPDA"
)


def _precise(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check_finite(what: str, values: Tensor, index: Tensor | None) -> None:
    rows = (~values.flatten(1).isfinite().all(1)).nonzero()[:, 0]
    if not len(rows):
        return
    sample = sample_name(index, int(rows[0]))
    raise ModelError(
        f"the model's {what} for sample {sample} are not finite: "
        "a classifier must answer every image in [0, 1] with finite numbers"
    )


@contextmanager
def probing(model: nn.Module) -> Iterator[Probe]:
    """Freeze a model for attacks and verdicts, and put it back as it was.

    Within, the model is in evaluation mode, its parameters take no gradient, and its filters
    have channels last in memory where that is faster; afterwards the mode of every module,
    `requires_grad`, `.grad` and filters are as before.

    Example:
        >>> with probing(torch.nn.Flatten()) as probe:
        ...     probe.logits(torch.zeros(2, 1, 1, 3)).shape
        torch.Size([2, 3])
    """
    keep_freed_memory()
    modules = [module for module in model.modules() if getattr(module, "training", False)]
    frozen = [p for p in model.parameters() if p.requires_grad]
    try:
        if modules:
            model.eval()
        for parameter in frozen:
            parameter.requires_grad_(False)
        with channels_last(model):
            yield Probe(model)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for module in modules:
            module.training = True
