"""What a threat of a user's own must do, tried before a run begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tempering.core.errors import TemperingError, ThreatError, type_and_message
from tempering.core.python_values import differences
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat

T = TypeVar("T")

_TRIED = 4
"""Images on which methods are called."""


def check_threat(threat: Threat, x: Tensor) -> None:
    """Call each method of a threat on a few images.

    Args:
        threat: A built-in one is not called.
        x: Images in [0, 1], shape (n, c, h, w).

    Raises:
        ThreatError: Naming the method that fails, returns no tensor of the right shape, or leaves
            the threat.
    """
    if threat.built_in:
        return
    original = x[:_TRIED]
    x = original.clone()
    streams = RandomStreams.of(0, len(x))
    noise = streams.derive("noise").normal(x.shape[1:]).to(x.dtype)
    radius = x.new_full((len(x),), threat.eps)
    inside = {
        "project(x_adv, x)": lambda: threat.project(x + noise, x),
        "project(x_adv, x, radius)": lambda: threat.project(x + noise, x, radius),
        "sample(x, streams)": lambda: threat.sample(x, streams),
    }
    for call, make in inside.items():
        x_adv = _made(threat, call, make, x.shape)
        if not bool(contained(threat, x_adv, x).all()):
            raise ThreatError(
                f"threat {threat}: {call} leaves the threat: return images that contains accepts"
            )
    _made(threat, "shrink(delta)", lambda: threat.shrink(noise), x.shape)
    _made(threat, "ascent(gradient)", lambda: threat.ascent(noise), x.shape)
    away = _made(threat, "distance(x_adv, x)", lambda: threat.distance(x, x), radius.shape)
    if not away.is_floating_point():
        raise ThreatError(
            f"threat {threat}: distance(x_adv, x) returned {away.dtype}: return {x.dtype}"
        )
    if not torch.equal(x, original):
        raise ThreatError(f"threat {threat} writes into the images that it gets: return new ones")


def contained(threat: Threat, x_adv: Tensor, x: Tensor) -> Tensor:
    """What `contains` answers, shape (n,), bool.

    Raises:
        ThreatError: If it fails, or returns anything else.
    """
    shape = torch.Size([len(x)])
    inside = _made(threat, "contains(x_adv, x)", lambda: threat.contains(x_adv, x), shape)
    if inside.dtype != torch.bool:
        raise ThreatError(
            f"threat {threat}: contains(x_adv, x) returned {inside.dtype}: return torch.bool"
        )
    return inside


def check_rescaling(threat: Threat, radii: Iterable[float]) -> None:
    """Make a threat with other eps.

    Raises:
        ThreatError: If that fails, or the result has another eps, or lacks attributes that the
            threat has (at the threat's own eps, since attributes may depend on it).
    """
    for eps in radii:
        made = _called(threat, f"with_eps({eps:g})", partial(threat.with_eps, eps))
        if not isinstance(made, type(threat)) or made.eps != eps:
            raise ThreatError(
                f"threat {threat}: with_eps({eps:g}) returned {made}: "
                "return the same threat with that eps"
            )
    same = _called(threat, f"with_eps({threat.eps:g})", partial(threat.with_eps, threat.eps))
    if lost := differences(threat, same):
        raise ThreatError(
            f"threat {threat}: with_eps({threat.eps:g}) loses {', '.join(lost)}: "
            "return the same threat with that eps"
        )


def _made(threat: Threat, call: str, make: Callable[[], Tensor], shape: torch.Size) -> Tensor:
    made = _called(threat, call, make)
    if not isinstance(made, Tensor) or made.shape != shape:
        what = f"shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise ThreatError(
            f"threat {threat}: {call} returned {what}: return a tensor of shape {tuple(shape)}"
        )
    return made


def _called(threat: Threat, call: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except TemperingError:
        raise
    except Exception as error:
        raise ThreatError(f"threat {threat}: {call} failed: {type_and_message(error)}") from error
