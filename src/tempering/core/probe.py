"""Queries of a model by attacks and the evaluator: logits and input gradients, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from tempering.core.backward import declared_hooks, foreign_stages
from tempering.core.deadline import check_deadline
from tempering.core.errors import (
    FailedBackwardError,
    FailedModelError,
    ModelError,
    NoGradientError,
    NotFiniteError,
    TemperingError,
)
from tempering.core.frozen import frozen
from tempering.core.global_settings import torch_settings_kept
from tempering.core.layout import undo_channels_last
from tempering.core.memory import keep_freed_memory
from tempering.core.naming import sample_name
from tempering.core.outputs import logits_in
from tempering.core.passes import count_no_gradient, count_pass, replaces_gradients
from tempering.core.user_code import users_code

T = TypeVar("T")
Loss = Callable[[Tensor], Tensor]
"""Logits, shape (n, outputs), to one loss a sample, shape (n,), or to several, (n, m)."""


class Probe:
    """Queries of a frozen model in evaluation mode; gradients are those that its stages declare.

    Every forward pass is given a copy of the images, so that a model which writes its input
    changes neither data nor proposals.

    Attributes:
        model: The network; its parameters take no gradient.
        stateful: Whether an answer depends on earlier queries of the same sample, so that
            a sample may not appear twice in a batch.
    """

    stateful: bool = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        tensors = chain(model.parameters(), model.buffers())
        first = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
        self.dtype = torch.float32 if first is None else first.dtype
        self._foreign_stages = foreign_stages(model)

    def answer(self, x: Tensor) -> object:
        """Whatever the model returns for images, shape (n, c, h, w).

        Raises:
            FailedModelError: If the model raises an exception, or exits.
        """
        try:
            with torch_settings_kept():
                return self.model(x.to(self.dtype, copy=True))  # a forward may write its input
        except TemperingError:
            raise
        except (Exception, SystemExit) as error:
            raise FailedModelError(len(x), tuple(x.shape[1:]), error) from error

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        check_deadline()
        count_pass("forward", x, index)
        logits = logits_in(self.answer(x))
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
        return logits.clone() if logits.is_inference() else logits

    def _retried(self, compute: Callable[[], T]) -> T:
        """Compute; once more with contiguous filters if `view` refuses channels last."""
        try:
            return compute()
        except (RuntimeError, ModelError):
            if not undo_channels_last(self.model):
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

    def differentiable(self, x: Tensor) -> Tensor:
        """Logits with the graph that leads back to images, shape (n, outputs).

        Gradients along it are those that the model's stages declare. A forward pass is counted for
        each image; what the caller does with the graph is not.

        Args:
            x: Images, shape (n, c, h, w), with `requires_grad` where a graph is wanted.

        Raises:
            ModelError: If the model fails, or returns no (n, outputs) tensor.
            NoGradientError: If x requires a gradient and the logits have none.
        """
        with declared_hooks(self._foreign_stages):
            logits = _precise(self._forward(x, None))
        if x.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
            raise NoGradientError(_NO_GRADIENT)
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
                and would call the model robust. Within `gradients_replaced()` gradients that
                are not finite are zero.
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
        logits, gradients = self._retried(lambda: self._linearize(x, losses, index))
        count_pass("backward", x, index, len(gradients))
        logits = logits.detach()
        if not bool((logits.sum() + sum(gradient.sum() for gradient in gradients)).isfinite()):
            _check_finite("logits", logits, index)
            gradients = [_finite_gradient(gradient, index) for gradient in gradients]
        return logits, [gradient.to(x.dtype) for gradient in gradients]

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
            gradients = []
            for number, head in enumerate(heads, 1):
                gradient = _backward(head, leaf, number < len(heads))
                if gradient is None:
                    raise NoGradientError(_NO_GRADIENT)
                gradients.append(gradient)
        return logits, gradients


_BACKWARD = "correct the backward pass, or attack without gradients: --access black"
_NO_GRADIENT = (
    "the model's logits have no gradient with respect to its images: "
    "remove detach() and no_grad(), pass the gradient straight through, or attack with BPDA"
)


def _backward(head: Tensor, leaf: Tensor, more: bool) -> Tensor | None:
    """The gradient of summed losses; None if they do not depend on the leaf.

    Raises:
        FailedBackwardError: If a step of the model raises an exception.
    """
    try:
        with users_code("the model's backward pass fails", _BACKWARD):
            (gradient,) = torch.autograd.grad(
                head.sum(), leaf, retain_graph=more, allow_unused=True
            )
    except ModelError as error:
        if error.__cause__ is None:
            raise
        raise FailedBackwardError(str(error)) from error.__cause__
    return gradient


def _precise(logits: Tensor) -> Tensor:
    if logits.is_complex():
        raise ModelError(f"the model's logits are {logits.dtype}: give a model with real logits")
    return logits if logits.dtype == torch.float64 else logits.float()


def _finite_gradient(gradient: Tensor, index: Tensor | None) -> Tensor:
    """The gradient; where that is allowed, with zeros for samples that have no finite one."""
    if not replaces_gradients():
        _check_finite("gradients", gradient, index)
        return gradient
    bad = ~gradient.flatten(1).isfinite().all(1)
    if index is not None:
        count_no_gradient(index[bad.to(index.device)])
    return gradient.masked_fill(bad[:, None, None, None], 0.0)


def _check_finite(what: str, values: Tensor, index: Tensor | None) -> None:
    rows = (~values.flatten(1).isfinite().all(1)).nonzero()[:, 0]
    if not len(rows):
        return
    sample = sample_name(index, int(rows[0]))
    raise NotFiniteError(what, sample)


@contextmanager
def probing(model: nn.Module) -> Iterator[Probe]:
    """Ask a model through a private view that is frozen and in evaluation mode.

    The model is not changed: not its mode, `requires_grad`, `.grad`, hooks or memory
    layout. Threads may ask one model at once. Models of which no view can be made are
    frozen in place instead, one thread at a time; `core/frozen.py` says which. Hooks that
    the answers depend on belong on `probe.model`.

    Raises:
        ModelError: If it is no module.

    Example:
        >>> with probing(torch.nn.Flatten()) as probe:
        ...     probe.logits(torch.zeros(2, 1, 1, 3)).shape
        torch.Size([2, 3])
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a model of type {type(model).__name__}: give a torch.nn.Module")
    keep_freed_memory()
    with frozen(model) as view:
        yield Probe(view)
