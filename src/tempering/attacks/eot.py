"""EOT: attacks on models that answer differently each time."""

from __future__ import annotations

from collections import Counter
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
        streams: How many.
    """

    def __init__(self, inner: Probe, streams: int, seed: int) -> None:
        super().__init__(inner.model)
        self._inner = inner
        self.stateful = inner.stateful
        self.streams = streams
        self._seed = seed
        self._looks = 0

    def logits(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Mean logits."""
        looks = [self._inner.logits(x, index) for _ in self._drawn(x.device)]
        return torch.stack(looks).mean(0)

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean logits and mean gradients."""
        return _means([self._inner.gradient(x, loss, index) for _ in self._drawn(x.device)])

    def gradients(
        self, x: Tensor, losses: Loss, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean logits and the mean gradients of several losses."""
        return _means([self._inner.gradients(x, losses, index) for _ in self._drawn(x.device)])

    def _drawn(self, device: torch.device) -> Iterator[int]:
        self._looks += 1
        for draw in range(self.streams):
            with _seeded(derive(self._seed, "look", self._looks, draw), device):
                yield draw


class AloneProbe(Probe):
    """A random model that each sample passes by itself, with draws of its own.

    The draws depend on the seed, the sample's number and how often it was looked at.
    """

    stateful = True

    def __init__(self, inner: Probe, seed: int) -> None:
        super().__init__(inner.model)
        self._seed = seed
        self._looks: Counter[int] = Counter()

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        parts = []
        numbers = torch.arange(len(x), device=x.device) if index is None else index
        for row, number in enumerate(numbers.tolist()):
            self._looks[number] += 1
            one = slice(row, row + 1)
            with _seeded(derive(self._seed, "alone", number, self._looks[number]), x.device):
                parts.append(super()._forward(x[one], None if index is None else index[one]))
        return torch.cat(parts)


def _means(looks: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits, gradients = zip(*looks, strict=True)
    return torch.stack(logits).mean(0), torch.stack(gradients).mean(0)


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

    What holds, if the model's randomness comes from torch's global generator: the same
    seed, samples and batch size give the same result, whatever else was drawn before,
    and the generator is left as it was. What a model draws for a sample depends on the
    batch that it comes in: on its size, and on how many looks came before. So, other
    than elsewhere, the result for a sample depends on its batch; the verdict, which the
    judge makes with draws of its own, does so too. With `alone` each sample passes the
    model by itself, and its result depends on its own number and the seed alone. That
    takes as many passes, each of one image, and is slow. Randomness from elsewhere, such
    as `random` or numpy, is seeded by neither. A model that is not random has the result
    of its attack on it without EOT, up to rounding, in any batch.

    Attributes:
        attack: What runs.
        n: RandomStreams for each gradient and each answer, at least 1.
        alone: Whether each sample passes the model by itself.

    Raises:
        UsageError: If n is no whole number of at least 1; when run, if `alone` is asked
            for within an attack that changes what is seen of the model, as
            `Transfer(EOT(...), diversity=0.5)` does.

    Example:
        >>> from tempering.attacks import PGD
        >>> EOT(PGD(steps=40), 10).label()
        'pgd-40+eot10'
    """

    name: ClassVar[str] = "eot"
    source: ClassVar[str] = "Athalye, Engstrom, Ilyas and Kwok, 2018"
    cost: ClassVar[str] = "n times its attack's"

    n: int = 10
    alone: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.n, int) and self.n >= 1):
            raise UsageError(f"eot: n = {self.n}: give a whole number of at least 1")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """What the attack proposes for the mean of the model."""
        seed = problem.streams.derive("eot").key
        if self.alone:
            if type(probe) is not Probe:
                raise UsageError(
                    f"eot: alone = True on a {type(probe).__name__}: give alone = False within "
                    "attacks that change what is seen of the model"
                )
            probe = AloneProbe(probe, seed)
        return self.attack.propose(MeanProbe(probe, self.n, seed), problem)

    def effort(self) -> int:
        """The inner attack's, n times."""
        return self.n * self.attack.effort()

    def settings(self) -> dict[str, Any]:
        """How many draws, and whether samples pass by themselves."""
        return {"n": self.n, "alone": self.alone}

    def label(self) -> str:
        """Such as `pgd-40+eot10`."""
        return f"{super().label()}{self.n}{'-alone' if self.alone else ''}"
