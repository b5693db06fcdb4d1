"""Single-pass adversarial training: adversarial copies that are made once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from tempering.attacks.base import Attack
from tempering.attacks.cw_linf import CWLinf
from tempering.attacks.pgd import PGD
from tempering.core.errors import UsageError
from tempering.core.naming import samples_named
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.training.objective import Batch, Losses, Objective
from tempering.training.objectives.standard import Standard

CHUNK = 2000
"""Images that copies are made of at a time."""


@dataclass(frozen=True)
class SinglePass(Objective):
    """Cross-entropy on clean images and on copies attacked once on the undefended model.

    `prepare` makes the copies; training then is standard training on twice the data.

    Attributes:
        attacks: Attacks that share the images: one is drawn for each by its id.

    Raises:
        UsageError: If there are no attacks.
    """

    name: ClassVar[str] = "single-pass"
    source: ClassVar[str] = "Goodfellow, Shlens and Szegedy, 2015, without retraining"
    needs_undefended: ClassVar[bool] = True

    attacks: tuple[Attack, ...] = (
        PGD(steps=3, until_fooled=False),
        CWLinf(steps=3, until_fooled=False),
    )

    def __post_init__(self) -> None:
        if not self.attacks:
            raise UsageError(f"{self.name}: no attacks: name at least one, such as 'pgd:steps=5'")

    def require(self, threat: Threat, steps: int) -> None:  # noqa: ARG002
        """The attacks know the threat."""
        for attack in self.attacks:
            attack.require(threat)

    def prepare(
        self, data: Dataset, undefended: nn.Module | None, threat: Threat, seed: int
    ) -> tuple[Dataset, Objective]:
        """Clean data, and as many adversarial copies; standard training on both."""
        if undefended is None:
            raise UsageError(f"{self.name} attacks the undefended model once: give one")
        first = next(undefended.parameters(), None)
        device = torch.device("cpu") if first is None else first.device
        copies = []
        with track("adversarial copies", len(data)) as advance, samples_named(data.ids.name_of):
            for start in range(0, len(data), CHUNK):
                ids = torch.arange(start, min(start + CHUNK, len(data)))
                x, y = data.images(ids).to(device), data.y[ids].to(device)
                streams = RandomStreams(derive(seed, "copies"), data.ids.keys[ids])
                drawn = streams.derive("attack").choice(len(self.attacks))
                for number, attack in enumerate(self.attacks):
                    turn = (drawn == number).nonzero()[:, 0]
                    own = streams[turn].derive(number)
                    x[turn] = attack(undefended, x[turn].clone(), y[turn], threat, own)
                copies.append(x.cpu())
                advance(int(ids[-1]) + 1, "")
        doubled = replace(
            data,
            pixels=torch.cat([data.x, *copies]),
            y=torch.cat([data.y, data.y]),
            name=f"{data.name} with adversarial copies",
            ids=data.ids + data.ids.under("copy/"),
        )
        return doubled, Standard()

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:  # noqa: ARG002
        """Nothing: training goes on with what `prepare` returns.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.name} trains on data with copies: call prepare first")
