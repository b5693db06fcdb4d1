"""A generator network: trained once against a model, then one forward pass per image."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import BATCH_SIZE, Attack, Problem
from tempering.attacks.learning import TrainingLoss, as_problem, in_order, shared_stream
from tempering.attacks.steps import check_count, check_positive
from tempering.core.goals import Goal
from tempering.core.probe import Probe, probing
from tempering.core.random import RandomStreams
from tempering.core.threat_words import exact
from tempering.core.threats import Threat
from tempering.models.weights import weights_hash


class GeneratorNetwork(nn.Module):
    """From images to perturbations, shape of the images, each pixel between -1 and 1.

    A small U-Net (Ronneberger, Fischer and Brox, 2015) with a global mean in the middle;
    no layer mixes samples.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(channels, width, 3, padding=1)
        self.halve = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.halve_again = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.whole = nn.Conv2d(4 * width, 4 * width, 1)
        self.to_half = nn.Conv2d(4 * width, 2 * width, 3, padding=1)
        self.to_fine = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Perturbations of images in [0, 1]."""
        act, enlarge = nn.functional.silu, nn.functional.interpolate
        fine = act(self.fine(x - 0.5))
        half = act(self.halve(fine))
        quarter = act(self.halve_again(half))
        middle = act(quarter + self.whole(quarter.mean((2, 3), keepdim=True)))
        half = act(half + enlarge(self.to_half(middle), half.shape[2:]))
        fine = act(fine + enlarge(self.to_fine(half), fine.shape[2:]))
        changes: Tensor = nn.functional.softsign(self.out(fine))
        return changes

    def draw(self, streams: RandomStreams) -> GeneratorNetwork:
        """Draw fresh weights (He et al., 2015) from one stream."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 1:
                    parameter.zero_()
                else:
                    spread = math.sqrt(2.0 / parameter[0].numel())
                    noise = streams.derive(name).normal(parameter.shape)[0]
                    parameter.copy_(spread * noise)
        return self


@dataclass(frozen=True)
class Generator(Attack):
    """Train a network whose perturbations fool the model.

    After Xiao et al., 'Generating adversarial examples with adversarial networks', 2018,
    without a discriminator, since the threat limits the perturbation. Called as an attack
    it is trained on the images under attack, so the result for an image depends on all of
    them; `fit` returns the trained network as an attack of its own, which costs no pass of
    the model.

    Attributes:
        epochs: Passes through the images, at least 1.
        learning_rate: Of Adam.
        width: Channels of the generator's layers.
        batch: Images per training step, whatever the caller's batch size.

    Example:
        `Generator().fit(model, data.train.x, data.train.y, Linf(0.3))(model, x, y, Linf(0.3))`
    """

    name: ClassVar[str] = "generator"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Xiao et al., 2018"
    cost: ClassVar[str] = "epochs x (forward + backward) per training sample, then no pass"

    epochs: int = 30
    learning_rate: float = 5e-3
    width: int = 16
    batch: int = 32

    def __post_init__(self) -> None:
        for name in ("epochs", "width", "batch"):
            check_count(self.name, name, getattr(self, name))
        check_positive(self.name, "learning_rate", self.learning_rate)

    def batch_dependent(self) -> bool:
        """True: it is trained on all samples."""
        return True

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The proposals of a network trained on these images."""
        return self._train(probe, problem).propose(probe, problem)

    def fit(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        random: RandomStreams | None = None,
        goal: Goal | None = None,
    ) -> TrainedGenerator:
        """Train on images; arguments as for calling an attack.

        Args:
            model: From images in [0, 1] to logits.
            x: Images in [0, 1], shape (n, c, h, w), at least one.
            y: Labels, shape (n,), int64.
            threat: What may change.
            random: One stream per sample; only the seed matters.
            goal: What counts as success.

        Returns:
            The trained network, as an attack.

        Raises:
            ThreatError: If the attack does not work in the threat.
            UsageError: If there is no image.
        """
        problem = as_problem(self, x, y, threat, random, goal, BATCH_SIZE)
        with probing(model) as probe:
            return self._train(probe, problem)

    def _train(self, probe: Probe, problem: Problem) -> TrainedGenerator:
        problem = in_order(problem)
        x, y, index = problem.x, problem.y, problem.streams.index
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            network = GeneratorNetwork(x.shape[1], self.width).to(x.device, dtype)
            network.draw(shared_stream(problem.streams.derive("weights")))
            weights = list(network.parameters())
            adam = torch.optim.Adam(weights, lr=self.learning_rate)
            for epoch in range(self.epochs):
                order = problem.streams.derive("epoch", epoch).order()
                for at in range(0, len(order), self.batch):
                    rows = order[at : at + self.batch]
                    x_adv = shaped(network, x[rows], problem.threat)
                    objective = TrainingLoss(problem.goal, y[rows], probe)
                    gradient = objective.gradient(x_adv.detach(), index[rows])
                    if not bool(gradient.any()):
                        continue
                    steps = torch.autograd.grad(x_adv, weights, -gradient / len(rows))
                    for weight, step in zip(weights, steps, strict=True):
                        weight.grad = step
                    adam.step()
        network.requires_grad_(False)
        return TrainedGenerator(problem.threat, weights_hash(network), network)


@dataclass(frozen=True)
class TrainedGenerator(Attack):
    """A trained generator: one forward pass per image; the model is not queried.

    Attributes:
        threat: The threat it was trained for.
        weights: Hash of its weights.
        network: The network.
    """

    name: ClassVar[str] = "trained-generator"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    access: ClassVar[str] = "none"
    source: ClassVar[str] = "Xiao et al., 2018"
    cost: ClassVar[str] = "no pass"

    threat: Threat
    weights: str
    network: nn.Module = field(compare=False, repr=False)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:  # noqa: ARG002 - not asked
        """The generator's images, projected onto the present threat."""
        parts = []
        network = self.network.to(problem.x.device)
        with torch.no_grad():
            for rows in problem.batches():
                x_adv = shaped(network, problem.x[rows], self.threat)
                parts.append(problem.threat.project(x_adv, problem.x[rows]))
        return torch.cat(parts)

    def config(self) -> dict[str, Any]:
        """Threat and hash of the weights."""
        return {"name": self.name, "threat": exact(str(self.threat)), "weights": self.weights}


def shaped(network: nn.Module, x: Tensor, threat: Threat) -> Tensor:
    """Perturbed images within the threat.

    In L-inf the output is a position between the least and the largest allowed value of a
    pixel, so no gradient is lost at the bounds. Otherwise it is a perturbation, which is
    projected.
    """
    first = next(network.parameters())
    changes: Tensor = network(x.to(first.dtype)).to(x.dtype)
    if threat.norm == "linf":
        low, high = threat.bounds(x)
        low, high = (x - threat.eps).maximum(low), (x + threat.eps).minimum(high)
        return low + (high - low) * (1.0 + changes) / 2.0
    return threat.project(x + changes, x)
