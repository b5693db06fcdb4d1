"""Adversarial weight perturbation: the loss at the worst weights nearby."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.module_copies import copied_module
from tempering.training.cost import Cost
from tempering.training.losses import total_loss
from tempering.training.objective import Batch, Losses, require_between
from tempering.training.wrapper import Wrapper

Weights = dict[str, Tensor]
"""Name of a parameter -> a tensor."""


@dataclass(frozen=True)
class AWP(Wrapper):
    """The wrapped objective at weights that a step of ascent moved by a share of their norm.

    Wu, Xia and Wang, 'Adversarial weight perturbation helps robust generalization', 2020,
    algorithm 1: v = gamma * |w| / |g| * g for each weight tensor, g being the gradient of the
    wrapped loss; the weights are updated by the gradient at w + v. Biases and the parameters of
    normalisation stay where they are.

    Attributes:
        inner: The objective that is wrapped, such as `trades` or `fgsm-rs`.
        gamma: Size of the perturbation, as a share of the norm of each weight tensor.
        after: Share of the training after which weights are perturbed.

    Raises:
        UsageError: If a parameter makes no sense.

    Example:
        >>> AWP(gamma=0.01).spec()
        'awp:gamma=0.01,after=0+standard:label_smoothing=0'
    """

    name: ClassVar[str] = "awp"
    source: ClassVar[str] = "Wu, Xia and Wang, 2020"

    gamma: float = 0.005
    after: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "gamma", self.gamma, 0.0, 1.0)
        require_between(self.name, "after", self.after, 0.0, 1.0)

    def update_passes(self, outputs: int = 10) -> Cost:
        """Those of the wrapped objective, twice."""
        return self.inner.update_passes(outputs).times(2)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The wrapped losses at the perturbed weights.

        Raises:
            UsageError: In more than one process.
        """
        batch.require_one_process(self.name)
        if batch.step < self.after * batch.steps or not self.gamma:
            return self.inner(model, batch)
        network = bare_module(model)
        pushed = self.perturbation(network, batch)
        own = dict(network.named_parameters())
        moved = {f"network.{name}": own[name] + push for name, push in pushed.items()}
        losses: Losses = torch.func.functional_call(_Scene(network), moved, (self.inner, batch))
        length = torch.stack([push.square().sum() for push in pushed.values()]).sum().sqrt()
        return replace(losses, scalars={**losses.scalars, "weight_perturbation": length})

    def perturbation(self, network: nn.Module, batch: Batch) -> Weights:
        """How far each weight tensor of at least two dimensions is moved.

        Args:
            network: The network in training mode; its state is left as it is.
            batch: What the wrapped objective made of it.
        """
        trial = copied_module(network)
        weights = {
            name: weight
            for name, weight in trial.named_parameters()
            if weight.ndim > 1 and weight.requires_grad
        }
        loss = total_loss(self.inner(trial, batch), batch)
        slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        pushed = {}
        for (name, weight), slope in zip(weights.items(), slopes, strict=True):
            if slope is not None:
                scale = self.gamma * weight.detach().norm() / slope.norm().clamp_min(1e-12)
                pushed[name] = (scale * slope).detach()
        return pushed


class _Scene(nn.Module):
    """A network whose weights may be replaced while an objective asks it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, objective: object, batch: Batch) -> Losses:
        if not callable(objective):
            raise TypeError(type(objective).__name__)
        losses: Losses = objective(self.network, batch)
        return losses
