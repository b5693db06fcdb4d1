"""Robust accuracy of a network while it trains, against the processor time of the training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from journal import say
from measuring import verdicts
from subjects import right
from tempering.attacks.base import Attack
from tempering.core.pixel_boxes import pixel_box
from tempering.core.protocols import Transform
from tempering.core.threats import Threat
from tempering.defenses import Pipeline, Squeeze

GROWTH = 1.5
"""A point is taken this many times as late as the one before."""


class TimeUpError(Exception):
    """The time of a training is over; raised out of loops of other libraries."""


def marks(seconds: float, points: int) -> list[float]:
    """Times of points, the last one at `seconds`.

    Example:
        >>> marks(90.0, 3)
        [40.0, 60.0, 90.0]
    """
    return [seconds / GROWTH**back for back in reversed(range(points))]


class Stopwatch:
    """Processor time of this process, without pauses: other processes hardly disturb it."""

    def __init__(self) -> None:
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.process_time() - self._began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within is not counted."""
        before = time.process_time()
        try:
            yield
        finally:
            self._began += time.process_time() - before


@dataclass(frozen=True)
class Judge:
    """Clean and robust accuracy on fixed images.

    An image is robust if it withstands every attack, and PGD in the box that monotone stages make
    of the ball; without a stage it is the ball. Its gradient is the network's own. Behind a hard
    threshold the box holds images that no attacker can make: the accuracy is then too low.

    Attributes:
        x: Images, shape (n, c, h, w).
        y: Their labels, shape (n,).
        threat: The L-inf ball.
        attacks: Each runs on what withstood those before it.
        box_steps: Steps of PGD in the box, each 2.5 / steps of half of a pixel's width.
    """

    x: Tensor
    y: Tensor
    threat: Threat
    attacks: Sequence[Attack]
    box_steps: int = 40

    def counts(self, model: nn.Module) -> tuple[int, int]:
        """Images that are right, and those that are robust too."""
        with torch.random.fork_rng(devices=[]):
            standing = right(model, self.x, self.y).nonzero()[:, 0]
            clean = len(standing)
            for attack in self.attacks:
                if not len(standing):
                    break
                x, y = self.x[standing], self.y[standing]
                broken = verdicts(model, x, y, attack(model, x, y, self.threat), self.threat)
                standing = standing[~broken]
            return clean, self._standing_in_box(model, standing)

    def _standing_in_box(self, model: nn.Module, rows: Tensor) -> int:
        """How many samples PGD in the box leaves; a sample that falls is attacked no more."""
        transforms, network = stages(model)
        low, high = pixel_box(self.threat, self.x[rows])
        for transform in transforms:
            low, high = transform.box_after(low, high)
        y, draws = self.y[rows], torch.Generator().manual_seed(0)
        z = low + torch.rand(low.shape, generator=draws) * (high - low)
        for _ in range(self.box_steps):
            z = z.detach().requires_grad_()
            logits = network(z)
            loss = nn.functional.cross_entropy(logits, y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, z)
            left = logits.argmax(1) == y
            step = 1.25 / self.box_steps * (high - low) * gradient.sign()
            z = torch.minimum(torch.maximum(z.detach() + step, low), high)[left]
            low, high, y = low[left], high[left], y[left]
        with torch.no_grad():
            return int((network(z).argmax(1) == y).sum())


def stages(model: nn.Module) -> tuple[list[Transform], nn.Module]:
    """Monotone transforms that lie first, and the network behind them."""
    if isinstance(model, Pipeline):
        return [part for part in model.transforms if isinstance(part, Transform)], model.classifier
    first, *rest = model.children()
    if isinstance(first, Squeeze):
        return [first], nn.Sequential(*rest)
    return [], model


@dataclass
class Curve:
    """Points of a training, taken as its time passes.

    Attributes:
        judge: Measures a point; its time is not counted.
        due: Times at which points are taken, increasing; after the last one time is up.
        most: Steps after which it is up too.
        points: What was measured: time, steps, images that are right, images that are robust.
        watch: The time.
        steps: Steps of the training so far.
    """

    judge: Judge
    due: Sequence[float]
    most: int
    points: list[dict[str, float]] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)
    steps: int = 0

    def start(self) -> None:
        """Time counts from here."""
        self.watch = Stopwatch()

    def step(self) -> bool:
        """Count a step; whether a point is to be taken now."""
        self.steps += 1
        return self.steps >= self.most or self.watch.seconds >= self.due[len(self.points)]

    def take(self, model: nn.Module) -> None:
        """Measure a point.

        Raises:
            TimeUpError: If it is the last one.
        """
        seconds = self.watch.seconds
        with self.watch.paused():
            clean, robust = self.judge.counts(model)
        self.points.append(
            {"cpu": round(seconds, 2), "steps": self.steps, "clean": clean, "robust": robust}
        )
        say(f"  {seconds:.1f} s, {self.steps} steps: {clean} right, {robust} robust")
        if self.steps >= self.most or len(self.points) == len(self.due):
            raise TimeUpError
