"""EOT: attacks on randomized models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import UsageError
from tempering.core.probe import Loss, Probe
from tempering.core.random import derive


class MeanProbe(Probe):
    """A model whose logits and gradients are means over its own randomness.

    The model draws from torch's global generator, whose state is restored after each
    call. The draws of a call depend on the seed and on the number of calls before.

    Attributes:
        samples: Number of draws per call.
    """

    def __init__(self, inner: Probe, samples: int, seed: int) -> None:
        super().__init__(inner.model)
        self._inner = inner
        self.stateful = inner.stateful
        self.samples = samples
        self._seed = seed
        self._calls = 0

    def logits(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Mean logits."""
        draws = [self._inner.logits(x, index) for _ in self._drawn(x.device)]
        return torch.stack(draws).mean(0)

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean logits and mean gradients."""
        return _means([self._inner.gradient(x, loss, index) for _ in self._drawn(x.device)])

    def gradients(
        self, x: Tensor, losses: Loss, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean logits and the mean gradients of several losses."""
        return _means([self._inner.gradients(x, losses, index) for _ in self._drawn(x.device)])

    def _drawn(self, device: torch.device) -> Iterator[int]:
        self._calls += 1
        for draw in range(self.samples):
            with _seeded(derive(self._seed, "look", self._calls, draw), device):
                yield draw


class AloneProbe(Probe):
    """A randomized model that processes one sample at a time.

    The draws depend on the seed, the sample's number and the number of its calls.
    """

    stateful = True

    def __init__(self, inner: Probe, seed: int) -> None:
        super().__init__(inner.model)
        self._seed = seed
        self._calls: Counter[int] = Counter()

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        parts = []
        numbers = torch.arange(len(x), device=x.device) if index is None else index
        for row, number in enumerate(numbers.tolist()):
            self._calls[number] += 1
            sample = slice(row, row + 1)
            with _seeded(derive(self._seed, "alone", number, self._calls[number]), x.device):
                parts.append(super()._forward(x[sample], None if index is None else index[sample]))
        return torch.cat(parts)


def _means(draws: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits, gradients = zip(*draws, strict=True)
    return torch.stack(logits).mean(0), torch.stack(gradients).mean(0)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class EOT(AttackWrapper):
    """Expectation over transformation: the mean gradient over n draws of the model.

    Athalye, Engstrom, Ilyas and Kwok, 'Synthesizing robust adversarial examples', 2018.

    If the model draws from torch's global generator, the same seed, samples and batch
    size give the same result, and the generator is left as it was. The draws for a sample
    depend on its batch, so its result does, too. With `alone` each sample passes the model
    by itself, and its result depends on its number and the seed only; this is slow.
    Randomness from elsewhere, such as `random` or numpy, is not seeded. For a
    deterministic model the result is that of the inner attack, up to rounding.

    Attributes:
        attack: The inner attack.
        n: Draws per gradient and per query, at least 1.
        alone: Whether each sample passes the model by itself.

    Raises:
        UsageError: If n is no whole number of at least 1; when run, if `alone` is set
            inside an attack that modifies the model's input or gradient, such as
            `Transfer(EOT(...), diversity=0.5)`.

    Example:
        >>> from tempering.attacks import PGD
        >>> EOT(PGD(steps=40), 10).label()
        'pgd-40+eot10'
    """

    name: ClassVar[str] = "eot"
    source: ClassVar[str] = "Athalye, Engstrom, Ilyas and Kwok, 2018"
    cost: ClassVar[str] = "n x that of its attack"

    n: int = 10
    alone: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.n, int) and self.n >= 1):
            raise UsageError(f"eot: n = {self.n}: give a whole number of at least 1")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The inner attack's proposals for the mean of the model."""
        seed = problem.streams.derive("eot").key
        if self.alone:
            if type(probe) is not Probe:
                raise UsageError(
                    f"eot: alone = True on {type(probe).__name__}: give alone = False within "
                    "attacks that modify the model's input or gradient"
                )
            probe = AloneProbe(probe, seed)
        return self.attack.propose(MeanProbe(probe, self.n, seed), problem)

    def effort(self) -> int:
        """Effort of the inner attack, times n."""
        return self.n * self.attack.effort()

    def settings(self) -> dict[str, Any]:
        """Number of draws, and whether samples pass by themselves."""
        return {"n": self.n, "alone": self.alone}

    def label(self) -> str:
        """Such as `pgd-40+eot10`."""
        return f"{super().label()}{self.n}{'-alone' if self.alone else ''}"
