"""EOT: attacks on models that answer differently each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.wrapping import Wrapping
from tempering.core.errors import UsageError
from tempering.core.probe import Loss, Probe
from tempering.core.random import derive


class MeanProbe(Probe):
    """A model whose answers and gradients are means over draws of its own randomness.

    The model draws from torch's global generator, whose state is put back after each
    look. The draws of a look depend on the seed and on how many looks came before.

    Attributes:
        draws: How many.
    """

    def __init__(self, inner: Probe, draws: int, seed: int) -> None:
        super().__init__(inner.model)
        self._inner = inner
        self.draws = draws
        self._seed = seed
        self._looks = 0

    def logits(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Mean logits."""
        looks = [self._inner.logits(x, index) for _ in self._drawn(x.device)]
        return torch.stack(looks).mean(0)

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean logits and mean gradients."""
        looks = [self._inner.gradient(x, loss, index) for _ in self._drawn(x.device)]
        logits, gradients = zip(*looks, strict=True)
        return torch.stack(logits).mean(0), torch.stack(gradients).mean(0)

    def _drawn(self, device: torch.device) -> Iterator[int]:
        self._looks += 1
        for draw in range(self.draws):
            with _seeded(derive(self._seed, "look", self._looks, draw), device):
                yield draw


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class EOT(Wrapping):
    """Expectation over transformation: follow the mean gradient over n draws of the model.

    Athalye, Engstrom, Ilyas and Kwok, 'Synthesizing robust adversarial examples', 2018.
    Equal seeds give equal results if the model's randomness comes from torch's global
    generator. What such a model draws for a sample depends on the batch that it comes in,
    so results do as well, unless the model is not random at all.

    Attributes:
        attack: What runs.
        n: Draws for each gradient and each answer, at least 1.

    Example:
        >>> from tempering.attacks import PGD
        >>> EOT(PGD(steps=40), 10).label()
        'pgd-40+eot10'
    """

    name: ClassVar[str] = "eot"
    source: ClassVar[str] = "Athalye, Engstrom, Ilyas and Kwok, 2018"
    cost: ClassVar[str] = "n times its attack's"

    n: int = 10

    def __post_init__(self) -> None:
        if not (isinstance(self.n, int) and self.n >= 1):
            raise UsageError(f"eot: n = {self.n}: give a whole number of at least 1")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """What the attack proposes for the mean of the model."""
        seed = problem.draws.to("eot").seed
        return self.attack.propose(MeanProbe(probe, self.n, seed), problem)

    def effort(self) -> int:
        """The inner attack's, n times."""
        return self.n * self.attack.effort()

    def settings(self) -> dict[str, Any]:
        """How many draws."""
        return {"n": self.n}

    def label(self) -> str:
        """Such as `pgd-40+eot10`."""
        return f"{super().label()}{self.n}"
