"""The binarization test: can the attack find an adversarial example that was planted?

Zimmermann, Brendel, Tramèr and Carlini, 'Increasing confidence in adversarial robustness
evaluations', 2022. For each sample a linear binary classifier on the model's own features
separates points inside the ball from one point on its boundary. That point is adversarial for
the binary classifier by construction, so an attack that fails to find one is too weak.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Attack, Problem
from tempering.core.errors import NoGradientError
from tempering.core.goals import Untargeted
from tempering.core.probe import Probe, probing
from tempering.core.random import RandomStreams
from tempering.core.records import Count, Flag
from tempering.core.threats import Linf
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.flag_kind import FlagKind
from tempering.evaluation.proposals import check_proposal

REQUIRED_SUCCESS = 0.95
"""Success rate on planted examples that an attack must reach."""
STRONGER_ATTACK: Attack = APGDT(steps=100)
"""Attack for the planted examples that the examined attack missed. It tells a weak attack from
masked gradients."""
INNER_POINTS = 64
"""Points inside each ball."""
INNER_RADIUS = 0.95
"""Radius of the ball that contains them, as a share of eps."""
BOUNDARY = 0.5
"""Position of the decision boundary between the outermost inner point and the planted one."""
RIDGE = 1.0
"""Ridge regularization, in mean feature variances. A smaller one follows features of low variance,
and PGD then fails on models without gradient masking."""

FAILED = FlagKind(
    "binarization test failed",
    "an adversarial example was planted in each ball, in the model's own feature space, and "
    "neither the attack nor a stronger one found it; their failure elsewhere is no evidence of "
    "robustness",
    "change the attack until it passes: BPDA for masked gradients, EOT for randomness, more "
    "steps, or an attack without gradients",
    masks=True,
)
NEEDS_STRONGER_ATTACK = FlagKind(
    "binarization test needs a stronger attack",
    "an adversarial example was planted in each ball, in the model's own feature space; the attack "
    "missed it and a stronger gradient attack found it",
    "evaluate with the stronger attack, or use more steps and restarts",
)


def binarization_test(part: ExaminedSamples, attack: Attack) -> Flag | None:
    """Plant an adversarial example for each sample and run the attack on it.

    Flagged if the 95 % interval of the success rate lies below 95 %. A stronger attack is then run
    on the samples that were missed, which tells a weak attack from masked gradients; the success
    rate of as many random points as the classifier was fitted on shows how hard the task is.
    Layers after the last linear one, such as a softmax, are left out. Costs 66 forward passes per
    sample, and the passes of the attacks.

    Args:
        part: Samples; eps is above 0.
        attack: An attack that passes sample keys to the probe.

    Returns:
        `binarization test failed`, `binarization test needs a stronger attack`, or None; None
        also if nothing could be planted, and for attacks that do not query the model.
    """
    if attack.access == "none":
        return None
    plants = plant_examples(part)
    rows = plants.planted.nonzero()[:, 0]
    if not len(rows):
        return None
    test = part.at(rows)
    own = replace(plants, weight=plants.weight[rows], bias=plants.bias[rows])
    with probing(test.model) as plain:
        search = _PlantedSearch(BinaryProbe(plain, own, test), test)
        reached = search.by(attack, torch.arange(len(test), device=rows.device))
        rate = Count(hits=int(reached.sum()), n=len(test))
        if rate.interval[1] >= REQUIRED_SUCCESS:
            return None
        reached_later = torch.zeros_like(reached)
        missed = (~reached).nonzero()[:, 0]
        if STRONGER_ATTACK.knows(part.threat):
            with suppress(NoGradientError):  # a model without gradients: it finds none
                reached_later[missed] = search.by(STRONGER_ATTACK, missed)
        by_chance = search.by_chance()
    features = "the logits" if plants.layer is None else f"the inputs of layer {plants.layer!r}"
    both = Count(hits=int((reached | reached_later).sum()), n=len(test))
    kind = FAILED if both.interval[1] < REQUIRED_SUCCESS else NEEDS_STRONGER_ATTACK
    return kind.raised(
        f"{attack.label()} found {rate.hits} of {rate.n} planted examples, "
        f"{STRONGER_ATTACK.label()} {int(reached_later.sum())} more, {INNER_POINTS} random points "
        f"{int(by_chance.sum())}; features: {features}; planted on {rate.n} of {len(part)} samples",
        test.keys[~reached],
    )


class _PlantedSearch:
    """Searches for the planted examples."""

    def __init__(self, probe: BinaryProbe, part: ExaminedSamples) -> None:
        self._probe, self._part = probe, part
        inside = torch.zeros(len(part), dtype=torch.int64, device=part.x.device)
        self._problem = Problem(
            part.x, inside, part.threat, part.streams, Untargeted(), part.batch_size
        )

    def by(self, attack: Attack, rows: Tensor) -> Tensor:
        """Whether an attack finds the example of each row, bool."""
        task = self._problem.part(rows)
        x_adv = attack.propose(self._probe, task).detach()
        check_proposal(attack.label(), x_adv, task.x, task.threat, task.streams.index)
        return self._found(x_adv, task)

    def by_chance(self) -> Tensor:
        """Whether one of the random points is adversarial, shape (n,), bool."""
        hits = [
            self._found(self._part.nearby(f"control {number}"), self._problem)
            for number in range(INNER_POINTS)
        ]
        return torch.stack(hits).any(0)

    def _found(self, x: Tensor, task: Problem) -> Tensor:
        logits = [self._probe.logits(x[at], task.streams.index[at]) for at in task.batches()]
        return torch.cat(logits).argmax(1) == 1


class FeatureProbe(Probe):
    """A probe that returns the input features of a layer of the model.

    Attributes:
        layer: Name of the linear layer whose inputs are the features; None for the logits.
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


class BinaryProbe(FeatureProbe):
    """A probe that returns the two logits of each sample's own binary classifier."""

    def __init__(self, inner: Probe, plants: PlantedExamples, part: ExaminedSamples) -> None:
        super().__init__(inner, plants.layer)
        self.plants, self._keys = plants, part.keys

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        if index is None:
            raise ValueError("the attack queries the model without sample keys")
        features = super()._forward(x, index)
        rows = torch.searchsorted(self._keys, index)
        weight, bias = self.plants.weight[rows], self.plants.bias[rows]
        score = (features * weight.to(features.dtype)).sum(1) + bias.to(features.dtype)
        return torch.stack([-score, score], 1)


@dataclass(frozen=True, eq=False)
class PlantedExamples:
    """One binary classifier and planted example per sample.

    Attributes:
        layer: Name of the linear layer whose inputs are the features; None for the logits.
        weight: Shape (n, features).
        bias: Shape (n,); the score is above 0 on adversarial images.
        x_planted: The planted examples, shape (n, c, h, w).
        planted: Samples whose planted example can be separated, shape (n,), bool.
    """

    layer: str | None
    weight: Tensor
    bias: Tensor
    x_planted: Tensor
    planted: Tensor


def plant_examples(part: ExaminedSamples) -> PlantedExamples:
    """Fit a binary classifier for every sample; 66 forward passes each.

    The classifier is Fisher's linear discriminant with ridge regularization, in closed form. Its
    boundary separates the planted example from all inner points.

    Args:
        part: Samples; eps is above 0.
    """
    inner = part.threat.with_eps(INNER_RADIUS * part.threat.eps)
    x_planted = boundary_points(part)
    weights, biases, planted = [], [], []
    layer = last_linear_layer(part)
    with probing(part.model) as plain:
        probe = FeatureProbe(plain, layer)
        for row in range(len(part)):
            key = int(part.keys[row])
            streams = RandomStreams(
                part.streams.derive("inner", key).key, torch.arange(INNER_POINTS)
            ).on(part.x.device)
            points = inner.sample(part.x[row].expand(INNER_POINTS, *part.x.shape[1:]), streams)
            images = torch.cat([part.x[row : row + 1], points, x_planted[row : row + 1]])
            features = torch.cat(
                [probe.logits(batch) for batch in torch.split(images, part.batch_size)]
            ).double()
            weight, bias, separable = _discriminant(features[:-1], features[-1])
            weights.append(weight)
            biases.append(bias)
            planted.append(separable)
    return PlantedExamples(
        layer,
        torch.stack(weights),
        torch.stack(biases),
        x_planted,
        torch.tensor(planted, device=part.x.device),
    )


def boundary_points(part: ExaminedSamples) -> Tensor:
    """A random point on the boundary of each ball, shape of x; a corner of it for L-inf."""
    noise = part.streams.derive("planted").normal(part.x.shape[1:]).to(part.x.dtype)
    if isinstance(part.threat, Linf):
        return part.threat.project(part.x + part.threat.eps * noise.sign(), part.x)
    if not part.threat.built_in:
        everywhere = part.x.new_full((len(part),), torch.inf)
        noise = part.threat.project(part.x + noise, part.x, everywhere) - part.x
    far = part.threat.distance(part.x + noise, part.x).clamp_min(1e-12)
    return part.threat.project(
        part.x + 2 * part.threat.eps * noise / far[:, None, None, None], part.x
    )


def last_linear_layer(part: ExaminedSamples) -> str | None:
    """Name of the last linear layer that takes one row per image, or None."""
    names = [name for name, module in part.model.named_modules() if isinstance(module, nn.Linear)]
    x = part.x[:2]
    with probing(part.model) as probe, _inputs(probe.model, names) as seen:
        probe.logits(x)
    fitting = [name for name, rows in seen.items() if rows.ndim == 2 and len(rows) == len(x)]
    return fitting[-1] if fitting else None


@contextmanager
def _inputs(model: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Record the inputs of modules, in the order of their last call."""
    seen: dict[str, Tensor] = {}
    modules = dict(model.named_modules())

    def hook(name: str) -> object:
        def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.pop(name, None)
            seen[name] = inputs[0]

        return modules[name].register_forward_pre_hook(keep)

    handles = [hook(name) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]


def _discriminant(inner: Tensor, planted: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Weights and bias that separate one point from others, and whether they do.

    With C the covariance of the inner points, w = (C + ridge)^-1 (planted - mean). It is solved
    in the dual, with one equation per point.
    """
    mean = inner.mean(0)
    spread, direction = inner - mean, planted - mean
    n = len(inner)
    ridge = RIDGE * spread.square().sum() / n / len(direction) + 1e-12
    gram = spread @ spread.T + n * ridge * torch.eye(n, dtype=inner.dtype, device=inner.device)
    weight = (direction - spread.T @ torch.linalg.solve(gram, spread @ direction)) / ridge
    weight = weight / weight.norm().clamp_min(1e-300)
    low, high = (inner @ weight).max(), planted @ weight
    gap = high - low
    separable = bool(gap > 1e-6 * (high.abs() + low.abs() + 1e-30))
    scale = 1 / gap if separable else gap.new_ones(())
    return weight * scale, -(low + BOUNDARY * gap) * scale, separable
