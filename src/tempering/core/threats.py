"""Threat models: which perturbations an attacker may apply.

Images are float tensors in [0, 1], shape (n, c, h, w). A threat model allows a norm ball
around each image, intersected with the box [0, 1].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from tempering.core.errors import ThreatError, type_and_message
from tempering.core.python_values import differences
from tempering.core.random import RandomStreams
from tempering.core.soft_threshold import soft_threshold
from tempering.core.threat_words import number, ratio, read_radius, split_threat

TOLERANCE = 1e-5
"""Rounding error that `contains` tolerates, relative to max(1, eps)."""
RESERVED = ("linf", "l2", "l1", "l0", "patch")
"""Names that only built-in threats have in records."""


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _boxed(x_adv: Tensor) -> Tensor:
    return x_adv.clamp(0.0, 1.0)


def _length(values: Tensor) -> Tensor:
    return values.flatten(1).square().sum(1).sqrt()


@dataclass(frozen=True)
class Threat(ABC):
    """A norm ball of radius `eps` around each image, intersected with [0, 1].

    Attributes:
        eps: Radius, in units of the norm on images in [0, 1]; 0 allows no perturbation.
        name: Name in records; a subclass without one, or with a built-in's, is called as its class.

    Raises:
        ThreatError: If eps is not finite, negative, or larger than the box allows.
    """

    eps: float
    name: ClassVar[str]
    _ratio: ClassVar[str | None] = None  # the radius as it was written; no part of the value

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        name = getattr(cls, "name", None)
        taken = {getattr(base, "name", None) for base in cls.__bases__}
        if name in taken or (
            str(name).lower() in RESERVED and not cls.__module__.startswith("tempering.")
        ):
            cls.name = f"own-{cls.__name__}" if cls.__name__.lower() in RESERVED else cls.__name__

    def __post_init__(self) -> None:
        try:
            eps = float(self.eps)
        except (TypeError, ValueError):
            raise ThreatError(
                f"{self.name} eps {self.eps!r} is not a number: give one, such as 0.3"
            ) from None
        if not math.isfinite(eps) or eps < 0:
            raise ThreatError(
                f"{self.name} eps {eps:g} is not a radius: give a finite number of at least 0"
            )
        object.__setattr__(self, "eps", eps)

    def __str__(self) -> str:
        return f"{self.name}:{self._ratio or number(self.eps)}"

    def written(self, radius: str) -> Self:
        """The same threat, shown with the text of its radius if that is a ratio, such as 8/255."""
        same = copy(self)
        if (text := ratio(radius)) is not None:
            object.__setattr__(same, "_ratio", text)
        return same

    @property
    def norm(self) -> str:
        """Name of the built-in norm that this threat extends, or its own name if none.

        Attacks choose their geometry by it, so a subclass of `Linf` is attacked as `linf`,
        whatever its `name`.
        """
        return next((kind.name for kind in NORMS.values() if isinstance(self, kind)), self.name)

    @property
    def built_in(self) -> bool:
        """Whether it is exactly a ball of a built-in norm: what is proven of that one holds."""
        return type(self) in NORMS.values()

    def with_eps(self, eps: float) -> Self:
        """The same threat model with another radius.

        It is made from the attributes that are called as the parameters of its class.

        Raises:
            ThreatError: If the radius is invalid, or a subclass cannot be made so, or would change.
        """
        names = [name for name in signature(type(self)).parameters if hasattr(self, name)]
        given = {name: getattr(self, name) for name in names}
        begin = f"threat {self} cannot be made with eps {eps:g}: "
        remedy = ": make its class a frozen dataclass, or define with_eps"
        try:
            same, made = (self._remade(given, radius) for radius in (self.eps, eps))
        except ThreatError:
            raise
        except Exception as error:
            raise ThreatError(begin + type_and_message(error) + remedy) from error
        if lost := differences(self, same):
            raise ThreatError(f"{begin}it would lose {', '.join(lost)}{remedy}")
        return made

    def _remade(self, given: dict[str, Any], eps: float) -> Self:
        made = type(self)(**{**given, "eps": eps})
        return made.written(self._ratio) if self._ratio and eps == self.eps else made

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Least and largest value of each pixel that the threat allows at any radius.

        Args:
            x: Images in [0, 1], shape (n, c, h, w).

        Returns:
            Two tensors that broadcast to x: 0 and 1 for the built-in norms; for a subclass
            what its `project` leaves of all-black and all-white images.
        """
        low, high = x.new_zeros(()), x.new_ones(())
        if self.built_in:
            return low, high
        widest = x.new_full((len(x),), torch.finfo(x.dtype).max)
        return self.project(low.expand_as(x), x, widest), self.project(high.expand_as(x), x, widest)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether each x_adv is finite and within ball and box, shape (n,), bool."""
        slack = TOLERANCE * max(1.0, self.eps)
        x_adv, x = x_adv.double(), x.double()  # certificates hold up to the tolerance exactly
        flat = x_adv.flatten(1)
        finite = flat.isfinite().all(1)
        boxed = (flat >= -slack).all(1) & (flat <= 1 + slack).all(1)
        return finite & boxed & (self.distance(x_adv, x) <= self.eps + slack)

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        """Map x_adv into ball and box: shrink the perturbation, then clip pixels.

        In L-inf this is the exact projection.

        Args:
            x_adv: Any points, shape (n, c, h, w).
            x: Images in [0, 1], shape of x_adv.
            radius: Radius of each row, shape (n,), dtype of x; eps by default.

        Returns:
            Points within ball and box, shape of x.
        """
        return _boxed(x + self.shrink(x_adv - x, radius))

    @abstractmethod
    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        """Euclidean projection of delta onto the ball of radius eps, or `radius`, around 0."""

    @abstractmethod
    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The norm of x_adv - x, shape (n,)."""

    @abstractmethod
    def ascent(self, gradient: Tensor) -> Tensor:
        """The direction of unit norm with the largest inner product with the gradient."""

    @abstractmethod
    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """A random point of the ball around each x, clipped to the box."""


class Linf(Threat):
    """L-inf ball: each pixel may change by at most eps.

    Example:
        >>> str(Linf(0.3))
        'linf:0.3'
    """

    name = "linf"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps > 1:
            raise ThreatError(
                f"linf eps {self.eps:g} is larger than the whole range of a pixel, [0, 1]: "
                f"did you mean {self.eps:g}/255?"
            )

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        """Clip each entry."""
        if radius is None:
            return delta.clamp(-self.eps, self.eps)
        limit = _rows(radius, delta)
        return delta.clamp(-limit, limit)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The largest absolute change of a pixel."""
        return (x_adv - x).flatten(1).abs().amax(1)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The sign of the gradient."""
        return gradient.sign()

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Uniform in the ball."""
        noise = streams.on(x.device).uniform(x.shape[1:], -self.eps, self.eps)
        return (x + noise.to(x.dtype)).clamp(0.0, 1.0)


class L2(Threat):
    """L2 ball: the perturbation has a Euclidean norm of at most eps.

    Example:
        >>> str(L2(2.0))
        'l2:2'
    """

    name = "l2"

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        """Scale down to the radius if longer."""
        length = _length(delta).clamp_min(torch.finfo(delta.dtype).tiny)
        share = (self.eps if radius is None else radius) / length
        return delta * _rows(share.clamp_max(1.0), delta)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The Euclidean norm of the perturbation."""
        return _length(x_adv - x)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The gradient divided by its norm; a zero gradient stays zero."""
        largest = gradient.flatten(1).abs().amax(1)
        scaled = gradient / _rows(largest.where(largest > 0, torch.ones_like(largest)), gradient)
        length = _length(scaled)
        return scaled / _rows(length.where(length > 0, torch.ones_like(length)), gradient)

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Uniform in the ball (Muller, 1959)."""
        streams = streams.on(x.device)
        direction = streams.derive("direction").normal(x.shape[1:]).flatten(1)
        direction = direction / _length(direction)[:, None]
        radius = streams.derive("radius").uniform((1,)) ** (1.0 / direction.shape[1])
        return (x + (self.eps * radius * direction).reshape(x.shape).to(x.dtype)).clamp(0.0, 1.0)


class L1(Threat):
    """L1 ball: the absolute changes sum to at most eps.

    Example:
        >>> str(L1(10))
        'l1:10'
    """

    name = "l1"

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        """Exact projection onto ball and box together (Croce and Hein, 2021, section 3)."""
        delta, flat = (x_adv - x).flatten(1), x.flatten(1)
        room = torch.where(delta > 0, 1 - flat, flat).clamp_min(0.0)
        step = soft_threshold(delta, room, self._radii(delta, radius))
        return _boxed(x + step.reshape(x.shape))

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        """Projection onto the ball by soft thresholding (Duchi et al., 2008)."""
        flat = delta.flatten(1)
        return soft_threshold(flat, flat.abs(), self._radii(flat, radius)).reshape(delta.shape)

    def _radii(self, flat: Tensor, radius: Tensor | None) -> Tensor:
        return flat.new_full((len(flat),), self.eps) if radius is None else radius

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The sum of absolute changes."""
        return (x_adv - x).flatten(1).abs().sum(1)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The whole step in the pixel with the largest gradient."""
        return _steepest(gradient)

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """Uniform in the ball, by normalised exponential variables (Barthe et al., 2005)."""
        streams = streams.on(x.device)
        size = x[0].numel() if len(x) else 1
        share = -torch.log1p(-streams.derive("share").uniform((size + 1,)))
        sign = streams.derive("sign").uniform((size,), -1.0, 1.0).sign()
        step = sign * share[:, :size] / share.sum(1, keepdim=True)
        return (x + (self.eps * step).reshape(x.shape).to(x.dtype)).clamp(0.0, 1.0)


def _steepest(gradient: Tensor) -> Tensor:
    flat = gradient.flatten(1)
    where = flat.abs().argmax(1, keepdim=True)
    step = torch.zeros_like(flat).scatter(1, where, flat.gather(1, where).sign())
    return step.reshape(gradient.shape)


class L0(Threat):
    """L0 ball: at most eps values may change, by any amount; each channel counts as a value.

    Example:
        >>> str(L0(10))
        'l0:10'
    """

    name = "l0"

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        """Clip pixels, then keep the largest changes."""
        inside = _boxed(x_adv)
        kept = self.shrink(inside - x, radius) != 0
        return torch.where(kept, inside, x)

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        """Keep the largest entries; among equal ones the first."""
        flat = delta.flatten(1)
        most = flat.new_full((len(flat),), self.eps) if radius is None else radius
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        kept = torch.arange(1, flat.shape[1] + 1, device=flat.device) <= most[:, None]
        mask = torch.zeros_like(flat, dtype=torch.bool).scatter(1, order, kept)
        return (flat * mask).reshape(delta.shape)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The number of values that differ."""
        return (x_adv != x).flatten(1).sum(1).to(x.dtype)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The sign of the value with the largest gradient."""
        return _steepest(gradient)

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        """As many values as eps allows, at random places, each uniform in [0, 1]."""
        streams = streams.on(x.device)
        colours = streams.derive("colour").uniform(x.shape[1:]).to(x.dtype)
        order = streams.derive("where").uniform(x.shape[1:]).flatten(1).argsort(dim=1, stable=True)
        rank = order.argsort(dim=1).reshape(x.shape)
        return torch.where(rank + 1 <= self.eps, colours, x)


NORMS: dict[str, type[Threat]] = {kind.name: kind for kind in (Linf, L2, L1, L0)}


def parse_threat(text: str) -> Threat:
    """Parse a threat model from text.

    Args:
        text: Norm and radius, such as `linf:0.3`, `linf:8/255`, `l2:2.0`, `l1:10` or `l0:20`;
            or `patch:0.05`, a square with that share of the image's area.

    Returns:
        The threat model.

    Raises:
        ThreatError: If the norm is unknown or the radius is invalid.

    Example:
        >>> parse_threat("linf:8/255").eps == 8 / 255
        True
    """
    norm, radius = split_threat(text)
    if norm == "patch":
        from tempering.core.patches import parse_patch

        return parse_patch(radius)
    return NORMS[norm](read_radius(radius, text)).written(radius)
