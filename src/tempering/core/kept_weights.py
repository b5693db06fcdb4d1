"""Models of a user whose forward changes their own weights: put back at the end of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


class _Weights:
    """Parameters and buffers of a model, as they were."""

    def __init__(self, model: nn.Module) -> None:
        tensors = {id(t): t for t in chain(model.parameters(), model.buffers()) if _is_plain(t)}
        self._contents = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
        self._tables: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (table, dict(table))
            for module in model.modules()
            if not isinstance(module, torch.jit.ScriptModule)
            for table in (module._parameters, module._buffers)
        ]

    def restore(self) -> None:
        for table, before in self._tables:
            for name, tensor in before.items():
                if name in table and table[name] is not tensor:
                    table[name] = tensor
        for tensor, content in self._contents:
            if tensor.shape == content.shape and not torch.equal(tensor.to(content), content):
                with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                    tensor.copy_(content)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has values that can be copied back."""
    odd = is_lazy(tensor) or tensor.is_meta or tensor.is_quantized
    return not odd and tensor.layout == torch.strided


_KEPT: ContextVar[list[_Weights] | None] = ContextVar("kept weights", default=None)


def keep_weights(model: nn.Module) -> nn.Module:
    """Within `weights_kept`: put parameters and buffers back at its end. Returns the model."""
    kept = _KEPT.get()
    if kept is not None:
        kept.append(_Weights(model))
    return model


@contextmanager
def weights_kept() -> Iterator[None]:
    """Afterwards the models given to `keep_weights` have the weights that they had then.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> before = net.weight.clone()
        >>> with weights_kept():
        ...     _ = keep_weights(net).weight.data.mul_(0.5)
        >>> torch.equal(net.weight, before)
        True
    """
    token = _KEPT.set([])
    try:
        yield
    finally:
        for weights in _KEPT.get() or ():
            weights.restore()
        _KEPT.reset(token)
