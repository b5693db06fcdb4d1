"""Planting an adversarial image that must be found: a read-out of features, one a sample.

Zimmermann, Brendel, Tramèr and Carlini, 'Increasing confidence in adversarial robustness
evaluations', 2022: on the model's own features a linear read-out tells points well inside
of the ball from one point on its edge. In this task of two classes that point is
adversarial, by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.probe import Probe, probing
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.evaluation.flags.slices import Slice

INNER = 64
"""Points inside of each ball."""
INSIDE = 0.95
"""How far inside they lie: the radius of their ball, as a share of eps."""
CLOSE = 0.5
"""Where on the way from the most outlying inner point to the planted one the boundary is."""
RIDGE = 1.0
"""Ridge of the read-out, in mean variances of a feature. A smaller one follows features that
hardly vary, which bends the read-out's slope so much that PGD misses it on honest networks."""

LOGITS = "its logits"


class FeatureProbe(Probe):
    """A probe whose answers are the features that go into a layer of the model.

    Attributes:
        layer: Name of the linear layer whose input is read; None for the model's logits.
    """

    def __init__(self, inner: Probe, layer: str | None) -> None:
        super().__init__(inner.model)
        self.layer = layer

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        if self.layer is None:
            return super()._forward(x, index)
        with _inputs(self.model, [self.layer]) as seen:
            super()._forward(x, index)
        return seen[self.layer]


class PlantedProbe(FeatureProbe):
    """A probe whose answers are two logits: the read-out of each sample's own features.

    Attributes:
        weight: Of each sample's read-out, shape (n, features).
        bias: Likewise, shape (n,).
    """

    def __init__(self, inner: Probe, plants: Plants, part: Slice) -> None:
        super().__init__(inner, plants.layer)
        self.plants, self._keys = plants, part.keys

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        if index is None:
            raise ValueError("an attack that queries images without naming their samples")
        features = super()._forward(x, index)
        rows = torch.searchsorted(self._keys, index)
        weight, bias = self.plants.weight[rows], self.plants.bias[rows]
        score = (features * weight.to(features.dtype)).sum(1) + bias.to(features.dtype)
        return torch.stack([-score, score], 1)


@dataclass(frozen=True, eq=False)
class Plants:
    """One read-out a sample.

    Attributes:
        layer: Name of the linear layer whose input is read; None for the model's logits.
        weight: Shape (n, features).
        bias: Shape (n,); the score is above 0 where the sample counts as fooled.
        x_planted: The planted images, shape (n, c, h, w).
        planted: Samples whose planted image can be told from the inner points, shape (n,), bool.
    """

    layer: str | None
    weight: Tensor
    bias: Tensor
    x_planted: Tensor
    planted: Tensor


def plant(part: Slice) -> Plants:
    """Fit a read-out for every sample; 66 forward passes each.

    The read-out is Fisher's discriminant with a ridge, in closed form. The boundary
    lies where the planted image is fooled and no inner point is.

    Args:
        part: Samples; their threat's eps is above 0.

    Returns:
        The read-outs.
    """
    inner = part.threat.with_eps(INSIDE * part.threat.eps)
    x_planted = edge(part)
    weights, biases, planted = [], [], []
    layer = last_linear(part)
    with probing(part.model) as plain:
        probe = FeatureProbe(plain, layer)
        for row in range(len(part)):
            key = int(part.keys[row])
            streams = RandomStreams(part.streams.derive("inner", key).key, torch.arange(INNER)).on(
                part.x.device
            )
            points = inner.sample(part.x[row].expand(INNER, *part.x.shape[1:]), streams)
            images = torch.cat([part.x[row : row + 1], points, x_planted[row : row + 1]])
            features = torch.cat(
                [probe.logits(one) for one in torch.split(images, part.batch_size)]
            ).double()
            weight, bias, told = _discriminant(features[:-1], features[-1])
            weights.append(weight)
            biases.append(bias)
            planted.append(told)
    return Plants(
        layer,
        torch.stack(weights),
        torch.stack(biases),
        x_planted,
        torch.tensor(planted, device=part.x.device),
    )


def edge(part: Slice) -> Tensor:
    """A random point on the edge of each ball, shape of x: a corner of it in L-inf."""
    noise = part.streams.derive("planted").normal(part.x.shape[1:]).to(part.x.dtype)
    if isinstance(part.threat, Linf):
        return part.threat.project(part.x + part.threat.eps * noise.sign(), part.x)
    far = part.threat.distance(part.x + noise, part.x).clamp_min(1e-12)
    return part.threat.project(
        part.x + 2 * part.threat.eps * noise / far[:, None, None, None], part.x
    )


def last_linear(part: Slice) -> str | None:
    """Name of the linear layer that runs last and is given one row an image; or None."""
    names = [name for name, one in part.model.named_modules() if isinstance(one, nn.Linear)]
    first = part.x[:2]
    with probing(part.model) as probe, _inputs(part.model, names) as seen:
        probe.logits(first)
    fitting = [name for name, given in seen.items() if given.ndim == 2 and len(given) == len(first)]
    return fitting[-1] if fitting else None


@contextmanager
def _inputs(model: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what goes into some modules, in the order in which they run last."""
    seen: dict[str, Tensor] = {}
    modules = dict(model.named_modules())

    def hook(name: str) -> object:
        def keep(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen.pop(name, None)
            seen[name] = given[0]

        return modules[name].register_forward_pre_hook(keep)

    handles = [hook(name) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]


def _discriminant(inner: Tensor, planted: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Weights and bias that put one point apart from others, and whether they do.

    With C the inner points' covariance, w = (C + ridge)^-1 (planted - mean), by way of a
    system of as many equations as there are points.
    """
    mean = inner.mean(0)
    spread, way = inner - mean, planted - mean
    n = len(inner)
    ridge = RIDGE * spread.square().sum() / n / len(way) + 1e-12
    gram = spread @ spread.T + n * ridge * torch.eye(n, dtype=inner.dtype, device=inner.device)
    weight = (way - spread.T @ torch.linalg.solve(gram, spread @ way)) / ridge
    weight = weight / weight.norm().clamp_min(1e-300)
    low, high = (inner @ weight).max(), planted @ weight
    gap = high - low
    told = bool(gap > 1e-6 * (high.abs() + low.abs() + 1e-30))
    scale = 1 / gap if told else gap.new_ones(())
    return weight * scale, -(low + CLOSE * gap) * scale, told
