"""Times attacks, counts passes and successes, and measures the minimum cost of a pass."""

from __future__ import annotations

import copy
import gc
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tempering.core.passes import Passes
from tempering.core.threats import Threat
from tempering.evaluation.verdicts import predict

T = TypeVar("T")

JUDGED_AT_A_TIME = 256
FLOOR_BATCHES = (32, 64, 128, 256, 512)
FLOOR_THREADS = (1, 2)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
FLOOR_SECONDS = 0.3
"""How long a layout, batch size and number of threads is tried for."""


PACE_RUNS = 15
"""How often a gradient is taken for `pace`."""
LONG_PASS = 1.0
"""Seconds of a gradient beyond which a larger batch must be cheaper a sample to go on."""


class Counting(nn.Module):
    """A network that counts the samples sent through it, forward and back to the images.

    Attributes:
        model: The network.
        passes: What was counted.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.passes = Passes()

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits."""
        self.passes.forward += len(x)
        if torch.is_grad_enabled() and x.requires_grad:
            x = _Gate.apply(x, self.passes)
        logits: Tensor = self.model(x)
        return logits


class _Gate(torch.autograd.Function):
    """The identity; a gradient that comes back through it is counted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, passes: Passes) -> Tensor:
        ctx.passes = passes
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        ctx.passes.backward += len(gradient)
        return gradient, None


@dataclass(frozen=True)
class Judged:
    """What the one judge says of proposals.

    Attributes:
        successes: Proposals in ball and box that the network gets wrong, in float32.
        outside: Proposals that left ball or box, or are not finite: failures.
        median: Median distance over all images, infinite for a failure; None if the
            median image is a failure.
    """

    successes: int
    outside: int
    median: float | None


def verdicts(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, threat: Threat) -> Tensor:
    """Which proposals succeed, shape (n,), bool: within ball and box, and wrong in float32."""
    if x_adv.shape != x.shape or x_adv.dtype != x.dtype:
        raise ValueError(f"x_adv is {x_adv.dtype} of shape {tuple(x_adv.shape)}")
    inside = threat.contains(x_adv, x)
    points = torch.where(inside[:, None, None, None], x_adv, x)
    seen = predict(model, points, y, torch.arange(len(x)), JUDGED_AT_A_TIME)
    return inside & (seen.predicted != y)


def judge(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, threat: Threat) -> Judged:
    """Successes, proposals that broke the rules, and the median distance."""
    success = verdicts(model, x, y, x_adv, threat)
    distance = threat.distance(x_adv.double(), x.double()).masked_fill(~success, torch.inf)
    halfway = float(distance.quantile(0.5, interpolation="higher"))
    return Judged(
        successes=int(success.sum()),
        outside=int((~threat.contains(x_adv, x)).sum()),
        median=halfway if halfway != float("inf") else None,
    )


class OverTimeError(Exception):
    """A run took longer than it may."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OverTimeError within once time is up; between two operations of torch."""

    def ring(_signal: int, _frame: object) -> None:
        raise OverTimeError(f"stopped after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """What a run gives, and its seconds; garbage of earlier runs is collected before."""
    gc.collect()
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


@dataclass(frozen=True)
class PassCost:
    """What passes cost under one setting, in seconds a sample.

    Attributes:
        layout: Memory format of weights and images.
        batch: Samples at a time.
        threads: Of torch.
        forward: A forward pass without gradient.
        gradient: A forward pass and the gradient with respect to the image.
    """

    layout: str
    batch: int
    threads: int
    forward: float
    gradient: float


def pass_costs(
    model: nn.Module,
    x: Tensor,
    batches: Sequence[int] = FLOOR_BATCHES,
    threads: Sequence[int] = FLOOR_THREADS,
    seconds: float = FLOOR_SECONDS,
) -> list[PassCost]:
    """Measure passes at every batch size, memory format and number of threads.

    Where a pass takes seconds, larger batches are left out once they no longer help.

    Args:
        model: The network; a frozen copy of it is measured.
        x: Images, shape (n, c, h, w), repeated to fill a batch.
        batches: Batch sizes.
        threads: Numbers of threads.
        seconds: How long each is tried for; the fastest pass counts.
    """
    before = torch.get_num_threads()
    costs: list[PassCost] = []
    for layout, memory in LAYOUTS.items():
        net = copy.deepcopy(model).eval().requires_grad_(False).to(memory_format=memory)
        for number in threads:
            torch.set_num_threads(number)
            best = float("inf")
            for batch in sorted(batches):
                images = x.repeat(-(-batch // len(x)), 1, 1, 1)[:batch]
                images = images.contiguous(memory_format=memory)
                forward = _fastest(partial(_forward, net, images), seconds)
                gradient = _fastest(partial(_gradient, net, images), seconds)
                costs.append(PassCost(layout, batch, number, forward / batch, gradient / batch))
                if gradient > LONG_PASS and gradient / batch >= best:
                    break
                best = min(best, gradient / batch)
    torch.set_num_threads(before)
    return costs


def pace(model: nn.Module, x: Tensor, batch: int) -> float:
    """Seconds a sample of a gradient now, the median of several: how busy the machine is.

    Args:
        model: The network; a frozen copy of it is measured.
        x: Images, shape (n, c, h, w).
        batch: Samples at a time, at most n.
    """
    net, images = copy.deepcopy(model).eval().requires_grad_(False), x[:batch]
    _gradient(net, images)
    times = sorted(timed(partial(_gradient, net, images))[1] for _ in range(PACE_RUNS))
    return times[PACE_RUNS // 2] / len(images)


def _forward(net: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        net(x)


def _gradient(net: nn.Module, x: Tensor) -> None:
    leaf = x.detach().requires_grad_(True)
    torch.autograd.grad(net(leaf).logsumexp(1).sum(), leaf)


def _fastest(run: Callable[[], None], seconds: float) -> float:
    """The shortest of as many runs as fit, at least two, the first of them included."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


@dataclass(frozen=True)
class Floor:
    """The least that passes of a network cost here, over all settings that were tried.

    Attributes:
        forward: The cheapest forward pass.
        gradient: The cheapest forward and backward pass.
    """

    forward: PassCost
    gradient: PassCost

    @classmethod
    def of(cls, costs: Sequence[PassCost]) -> Floor:
        """The best of each kind, each under its own setting."""
        return cls(
            min(costs, key=lambda cost: cost.forward), min(costs, key=lambda cost: cost.gradient)
        )

    def seconds(self, passes: Passes) -> float:
        """What passes would cost without anything around them.

        A backward pass costs what the cheapest gradient takes beyond the cheapest forward.
        """
        backward = max(0.0, self.gradient.gradient - self.forward.forward)
        return passes.forward * self.forward.forward + passes.backward * backward

    def record(self) -> dict[str, Any]:
        """For rows."""
        return {"forward": asdict(self.forward), "gradient": asdict(self.gradient)}
