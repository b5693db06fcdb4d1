"""Plain adversarial training with the PGD of other libraries, each loop as its users write it.

A loop runs until the optimizer's hook ends it by an exception: the hook sets the learning rate,
averages the weights and takes the points of the curve, for each library alike.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from peers.art_attacks import Float32
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset

MODULES = {"art": "art", "torchattacks": "torchattacks"}


@dataclass(frozen=True)
class Climb:
    """PGD under L-inf.

    Attributes:
        steps: Steps.
        step_size: Length of a step.
        grown: The share of eps and of the step size in force now, at most 1.
    """

    steps: int
    step_size: float
    grown: Callable[[], float] = lambda: 1.0


Train = Callable[[], None]
Loop = Callable[[nn.Module, torch.optim.Optimizer, Dataset, Threat, Climb, int, int], Train]
"""Imports and sets up all that is needed, and returns what then trains."""


def installed(library: str) -> bool:
    """Whether a library can be imported here."""
    return importlib.util.find_spec(MODULES[library]) is not None


def art_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    threat: Threat,
    climb: Climb,
    batch_size: int,
    seed: int,
) -> Train:
    """ART's `AdversarialTrainer` with its PGD on all samples (that is Madry's protocol)."""
    import numpy as np
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import PyTorchClassifier

    np.random.seed(seed)
    torch.manual_seed(seed)
    estimator = PyTorchClassifier(
        model=Float32(model),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        input_shape=data.shape,
        nb_classes=data.num_classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        estimator,
        eps=threat.eps,
        eps_step=climb.step_size,
        max_iter=climb.steps,
        num_random_init=1,
        batch_size=batch_size,
        verbose=False,
    )
    x, y = data.x.numpy(), nn.functional.one_hot(data.y, data.num_classes).numpy()
    trainer = AdversarialTrainer(estimator, attack, ratio=1.0)
    return lambda: trainer.fit(x, y, batch_size=batch_size, nb_epochs=1_000_000)


def torchattacks_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    threat: Threat,
    climb: Climb,
    batch_size: int,
    seed: int,
) -> Train:
    """A loop of PyTorch over batches that `torchattacks.PGD` attacked."""
    import torchattacks

    torch.manual_seed(seed)
    attack = torchattacks.PGD(model, eps=threat.eps, alpha=climb.step_size, steps=climb.steps)
    x, y = data.x, data.y

    def train() -> None:
        while True:
            for rows in torch.randperm(len(x)).split(batch_size):
                share = min(1.0, climb.grown())
                attack.eps, attack.alpha = share * threat.eps, share * climb.step_size
                x_adv = attack(x[rows], y[rows])
                model.train()
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x_adv), y[rows]).backward()
                optimizer.step()

    return train


LOOPS: dict[str, Loop] = {"art": art_loop, "torchattacks": torchattacks_loop}
"""Library -> its loop."""
