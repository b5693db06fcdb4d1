"""A generator as training partner: it learns to fool the network while the network learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.generator import Generator, GeneratorNetwork, shaped
from tempering.attacks.learning import TrainingLoss, shared_stream
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.threats import Threat
from tempering.training.cost import Cost
from tempering.training.moments import moments_of, restore_moments
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    require_between,
    require_count,
    soft_cross_entropy,
)

_WEIGHT, _MOMENT = "weight/", "moment/"


@dataclass(frozen=True)
class GeneratorPartner(Warmup):
    """clean * CE(f(x), y) + (1 - clean) * CE(f(G(x)), y), G a generator that learns beside f.

    At each step the generator makes one step of Adam that raises the loss of the current network,
    then perturbs the batch within the threat. Lee, Han and Lee, 'Generative adversarial
    trainer: defense to adversarial perturbations with GAN', 2017; the generator is that of the
    attack `generator`. It is weaker than PGD and cheaper: evaluate with other attacks.

    Attributes:
        clean: Weight of the loss on clean images.
        learning_rate: Of the generator's Adam.
        width: Channels of the generator's layers.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "generator"
    source: ClassVar[str] = "Lee, Han and Lee, 2017"
    inner_maximization: ClassVar[InnerMaximization] = "own"
    single_samples: ClassVar[bool] = False

    clean: float = 0.3
    learning_rate: float = 5e-3
    width: int = 16
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "clean", self.clean, 0.0, 1.0)
        require_between(self.name, "learning_rate", self.learning_rate, 1e-9, 1.0)
        require_count(self.name, "width", self.width, 1)

    def require(self, threat: Threat, steps: int) -> None:
        """The generator knows the threat, and the warm-up ends before training does."""
        Generator().require(threat)
        super().require(threat, steps)

    def inner_passes(self) -> Cost:
        """One pass in both directions; those of the generator do not count."""
        return Cost(1, 1)

    def update_passes(self, outputs: int = 10) -> Cost:  # noqa: ARG002
        """The clean and the perturbed image."""
        return Cost(2, 2)

    def perturb(self, batch: Batch) -> Batch:
        """A step of the generator, and its images."""
        batch.require_one_process(self.name)
        if not len(batch.x) or batch.threat.eps == 0:
            return batch.with_x_adv(batch.x)
        generator, adam = self._partner(batch)
        with torch.enable_grad(), probing(batch.model) as probe:
            x_adv = shaped(generator, batch.x, batch.threat)
            loss = TrainingLoss(Untargeted(), batch.y, probe)
            slope = loss.gradient(x_adv.detach(), batch.streams.index)
            adam.zero_grad()
            torch.autograd.backward(x_adv, -slope / len(slope))
            adam.step()
        with torch.no_grad():
            moved = batch.with_x_adv(shaped(generator, batch.x, batch.threat))
        weights = {_WEIGHT + name: value for name, value in generator.state_dict().items()}
        moments = {_MOMENT + name: value for name, value in moments_of(generator, adam).items()}
        return replace(moved, carried=weights | moments)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of each sample; clean and perturbed images go through in one pass."""
        clean, perturbed = model(torch.cat([batch.x, batch.perturbed])).float().chunk(2)
        natural = soft_cross_entropy(clean, batch.targets)
        attacked = soft_cross_entropy(perturbed, batch.targets)
        scalars = {"clean_loss": natural.mean(), "generator_loss": attacked.mean()}
        loss = self.clean * natural + (1 - self.clean) * attacked
        return Losses(loss, perturbed.detach(), scalars)

    def _partner(self, batch: Batch) -> tuple[GeneratorNetwork, torch.optim.Adam]:
        """The generator and its optimizer as the step before left them, or fresh ones."""
        with torch.random.fork_rng(devices=[]):
            generator = GeneratorNetwork(batch.x.shape[1], self.width).to(batch.x.device)
        carried = batch.carried
        if carried:
            generator.load_state_dict(_part(carried, _WEIGHT))
        else:
            generator.draw(shared_stream(batch.streams.derive("generator")))
        adam = torch.optim.Adam(generator.parameters(), lr=self.learning_rate)
        restore_moments(generator, adam, _part(carried, _MOMENT))
        return generator, adam


def _part(tensors: Mapping[str, Tensor], begin: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(begin): value for name, value in tensors.items() if name.startswith(begin)
    }
