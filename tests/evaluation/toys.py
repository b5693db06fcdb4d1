"""Models and data small enough to be solved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack, Problem
from tempering.core.engine import start_engine
from tempering.core.probe import Probe
from tempering.core.random import sample_keys
from tempering.core.records import Access, Subject
from tempering.core.threats import Linf, Threat
from tempering.data.dataset import Dataset
from tempering.defenses.squeeze import Squeeze
from tempering.evaluation import (
    EvalContext,
    EvaluationConfig,
    EvaluationResult,
    Evaluator,
    Target,
    each,
)

ENGINE = start_engine("32-true")
SHAPE = (1, 3, 3)


def dataset(x: Tensor, y: Tensor, classes: int = 2) -> Dataset:
    return Dataset(x, y, tuple(map(str, range(classes))), "toy/test")


def context(data: Dataset, batch_size: int = 16, seed: int = 0) -> EvalContext:
    return EvalContext(data, "test", ENGINE, seed, batch_size)


def target(model: nn.Module, data: Dataset, subject: Subject = "given") -> Target:
    return Target.of(subject, model, data)


def each_attack(
    where: EvalContext,
    judged: Target,
    threat: Threat,
    attacks: Sequence[Attack],
    surrogate: nn.Module | None = None,
    before: nn.Module | None = None,
) -> EvaluationResult:
    """Every attack on all samples, and nothing else."""
    sources: dict[Access, nn.Module] = {}
    if surrogate is not None:
        sources["gray-surrogate"] = surrogate
    if before is not None:
        sources |= {"gray-before": before, "stale": before}
    protocol = each(attacks, ("white", *sources))
    config = EvaluationConfig(
        threat, protocol, sources=sources, curve=None, certify=False, examined=0
    )
    return Evaluator(where, config).evaluate(judged)


def linear(seed: int = 0, scale: float = 1.0) -> nn.Sequential:
    """Two classes on nine pixels; class 1 where w . (x - 1/2) > 0."""
    layer = nn.Linear(9, 2)
    w = torch.randn(9, generator=torch.Generator().manual_seed(seed)) * scale
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(9), w]))
        layer.bias.copy_(torch.tensor([0.0, -float(w.sum()) / 2]))
    return nn.Sequential(nn.Flatten(), layer)


def weights(model: nn.Sequential) -> tuple[Tensor, Tensor]:
    """w and b of the difference of both logits."""
    layer = model[1]
    assert isinstance(layer, nn.Linear)
    return (
        (layer.weight[1] - layer.weight[0]).detach().double(),
        (layer.bias[1] - layer.bias[0]).detach().double(),
    )


def signed_margin(model: nn.Sequential, data: Dataset) -> Tensor:
    """How far each sample is on its own side, in logits; negative for errors."""
    w, b = weights(model)
    f = data.x.flatten(1).double() @ w + b
    return torch.where(data.y == 1, f, -f)


def worst_margin(model: nn.Sequential, data: Dataset, eps: float) -> Tensor:
    """The least margin within the L-inf ball and the box: each pixel moves alone."""
    w, _ = weights(model)
    x = data.x.flatten(1).double()
    toward = torch.where(data.y == 1, -1.0, 1.0)[:, None] * w.sign()
    room = torch.where(toward > 0, 1 - x, x).clamp_max(eps)
    return signed_margin(model, data) - (room * w.abs()).sum(1)


def cloud(
    n: int = 60, seed: int = 1, wrong: int = 4, low: float = 0.0, high: float = 1.0
) -> Dataset:
    """Uniform images, labelled by `linear()`, but for a few errors."""
    unit = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))
    x = low + (high - low) * unit
    with torch.no_grad():
        y = linear()(x).argmax(1)
    y[:wrong] = 1 - y[:wrong]
    return dataset(x, y)


class Centroids(nn.Module):
    """One pixel; each output wins nearest to its centroid. The last one is the flag."""

    def __init__(self, *places: float, flag: bool = True) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor(places))
        self.adversarial_class = len(places) - 1 if flag else None

    def forward(self, x: Tensor) -> Tensor:
        return -20 * (x.flatten(1) - self.places).square()


class Net(nn.Module):
    """Curved, so that attacks have to search."""

    def __init__(self, seed: int = 0, outputs: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Flatten(), nn.Linear(9, 24), nn.Tanh(), nn.Linear(24, outputs)
            )
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def squeezed() -> nn.Sequential:
    """A hard clamp in front of a linear model: flat wherever images are clearly dark or light."""
    return nn.Sequential(Squeeze(0.4, 0.6), *linear())


@dataclass(frozen=True)
class Scripted(Attack):
    """Does to each image what a test says."""

    name: ClassVar[str] = "scripted"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    source: ClassVar[str] = "nobody"

    how: str = "nothing"

    def minimum_norm(self) -> bool:
        return True

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        x = problem.x
        match self.how:
            case "nothing":
                return x
            case "leaves the ball":
                bad = problem.streams.index == sample_keys(["13"])
                return torch.where(bad[:, None, None, None], (x + 0.5) % 1, x)
            case "leaves the box":
                return x.clamp_min(1e-3) - 2e-2
            case "is not finite":
                bad = problem.streams.index == sample_keys(["13"])
                return x.masked_fill(bad[:, None, None, None], torch.nan)
            case "loses rows":
                return x[1:]
            case "changes the type":
                return x.double()
            case "writes into its input":
                return x.fill_(0.0)
            case _:
                raise AssertionError(self.how)

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "how": self.how, "success": 1.0}


THREAT = Linf(0.1)
