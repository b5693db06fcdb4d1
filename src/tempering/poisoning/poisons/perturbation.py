"""Adversarial copies in the training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tempering.attacks.registry import parse_attack
from tempering.core.errors import UsageError
from tempering.core.progress import track
from tempering.core.threats import Linf
from tempering.core.user_code import device_of
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.network_answers import log_probabilities
from tempering.poisoning.poisons.task import Task


@dataclass(frozen=True)
class Perturbation(Poison):
    """Replace samples by adversarial copies of several attacks and sizes; labels stay.

    The threat of ML-Filter (Sanapala and Gondi, 2024): perturbed samples in incoming training
    data. Attacks and sizes are dealt out evenly. They lead away from what the attacker's network
    says of the clean image; an attack may stop at less than eps, where the network is fooled.

    Attributes:
        attacks: Attacks in L-inf, as text such as `pgd:steps=10`.
        grid: Values of eps, in pixel units, above 0 and at most 1.
    """

    name: ClassVar[str] = "perturbation"
    source: ClassVar[str] = "Sanapala and Gondi, 2024"
    changes: ClassVar[str] = "images"
    needs_network: ClassVar[bool] = True

    attacks: tuple[str, ...] = ("fgsm", "bim", "pgd")
    grid: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.3)

    def __post_init__(self) -> None:
        if not self.attacks or not self.grid:
            raise UsageError("perturbation without attacks or eps: give at least one of each")
        for eps in self.grid:
            if not 0 < eps <= 1:
                raise UsageError(f"eps {eps} in the grid: give one above 0 and at most 1")
        for attack in self.attacks:
            parse_attack(attack).require(Linf(self.grid[0]))

    def craft(self, task: Task) -> Crafted:
        """Attack each sample once."""
        rows = task.choose(torch.ones(len(task.data), dtype=torch.bool), "are there")
        pairs = [(attack, eps) for attack in self.attacks for eps in self.grid]
        which = task.spread(len(rows), len(pairs), "pairs")
        network = task.network()
        device = device_of(network)
        x = task.images(rows)
        y = log_probabilities(network, task.data.subset(rows)).argmax(1)
        x_new = x.clone()
        with track("attacking", len(pairs)) as advance:
            for number, (attack, eps) in enumerate(pairs):
                mine = (which == number).nonzero()[:, 0]
                x_new[mine] = parse_attack(attack)(
                    network,
                    x[mine].to(device),
                    y[mine].to(device),
                    Linf(eps),
                    task.streams[rows[mine]].derive("attack", number),
                ).cpu()
                advance(number + 1, f"{attack} at eps {eps:g}")
        eps_of = torch.tensor([eps for _, eps in pairs])[which]
        attack_of = torch.tensor([self.attacks.index(attack) for attack, _ in pairs])[which]
        return Crafted(rows, x_new, detail={"eps": eps_of, "attack": attack_of})
