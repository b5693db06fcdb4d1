"""Rectifiers made smooth, so that a network of them has second derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

BETA = 20.0
"""Sharpness of softplus: it leaves the rectifier by at most ln(2) / 20 = 0.035."""


class SmoothRectifiers(TorchFunctionMode):
    """Within it, `relu` and `leaky_relu` of any network are computed with softplus.

    Second derivatives of a rectifier are zero wherever they exist, so an attacker who
    differentiates a gradient sees nothing (Dombrowski et al., 2019, section 3.3).

    Example:
        >>> x = torch.tensor([0.0])
        >>> with SmoothRectifiers():
        ...     round(float(torch.relu(x)), 4)
        0.0347
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace rectifiers; leave all else."""
        named = dict(kwargs or {})
        if func in _RECTIFIERS:
            return F.softplus(args[0] if args else named["input"], beta=BETA)
        if func in _LEAKY:
            return _leaky(*args, **named)
        return func(*args, **named)


_ATEN = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)
_RECTIFIERS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, *_ATEN)
_LEAKY = (F.leaky_relu, torch.nn.functional.leaky_relu_)


def _leaky(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:  # noqa: ARG001 - as torch names them
    smooth = F.softplus(input, beta=BETA)
    return negative_slope * input + (1 - negative_slope) * smooth
