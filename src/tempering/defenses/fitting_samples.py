"""Samples to fit a detector: clean images, and one adversarial image for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.threats import Threat
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset


class Proposer(Protocol):
    """What is asked for adversarial images: an attack of `tempering.attacks`, or the like."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        random: RandomStreams | None = None,
    ) -> Tensor:
        """Adversarial images, shape of x."""
        ...

    def label(self) -> str:
        """The attack's name, such as `pgd-40`."""
        ...


@dataclass(frozen=True, eq=False)
class DetectorSamples:
    """Clean images and, 1:1, adversarial versions of them.

    Attributes:
        x: Clean images in [0, 1], shape (n, c, h, w).
        y: Labels, shape (n,), int64.
        x_adv: The adversarial version of each, shape of x; None for clean samples only.
        kind: Which attack made it, from 1, shape (n,), int64; None for clean samples only.
        attacks: Names of the attacks; attack k has the number k + 1.
    """

    x: Tensor
    y: Tensor
    x_adv: Tensor | None = None
    kind: Tensor | None = None
    attacks: tuple[str, ...] = ()

    def require_attacks(self, name: str) -> None:
        """Refuse clean samples only.

        Raises:
            UsageError: If there are no adversarial samples.
        """
        if self.x_adv is None or self.kind is None or not self.attacks:
            raise UsageError(
                f"{name} learns from adversarial samples and there are none: "
                "give attacks, such as [FGSM(), PGD(steps=10)]"
            )

    def adversarial(self) -> tuple[Tensor, Tensor]:
        """Adversarial images and the numbers of their attacks.

        Raises:
            UsageError: If there are none.
        """
        self.require_attacks("the detector")
        assert self.x_adv is not None
        assert self.kind is not None
        return self.x_adv, self.kind


def detector_samples(
    model: nn.Module,
    data: Dataset,
    threat: Threat,
    attacks: Sequence[Proposer] = (),
    seed: int = 0,
) -> DetectorSamples:
    """Attack training data, each image by one of the attacks in turn.

    Al-Andoli et al. (2024) train on FGSM, BIM, PGD and Square. That adversarial samples are as
    many as clean ones, shared equally by the attacks, and kept whether or not they fool the
    model is inferred.

    Args:
        model: The classifier that is attacked.
        data: Training data.
        threat: What the attacks may change.
        attacks: Attacks with different labels; none for clean samples only.
        seed: Of the attacks.

    Returns:
        The samples, on the CPU.

    Raises:
        UsageError: If two attacks have the same label, or there are more attacks than images.
    """
    x, y = data.x, data.y
    names = tuple(attack.label() for attack in attacks)
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(f"two attacks called {repeated}: give attacks with different labels")
    if not attacks:
        return DetectorSamples(x, y)
    if len(attacks) > len(x):
        raise UsageError(f"{len(attacks)} attacks for {len(x)} images: give at least one each")
    x_adv, kind = x.clone(), torch.zeros_like(y)
    device = device_of(model)
    with track("samples for the detector", len(attacks)) as advance:
        for number, (name, attack) in enumerate(zip(names, attacks, strict=True), 1):
            rows = torch.arange(number - 1, len(x), len(attacks))
            streams = RandomStreams(derive(seed, "detector", name), data.ids.keys[rows])
            given = (x[rows].to(device), y[rows].to(device))
            x_adv[rows] = attack(model, *given, threat, random=streams).detach().cpu()
            kind[rows] = number
            advance(1, name)
    return DetectorSamples(x, y, x_adv, kind, names)
