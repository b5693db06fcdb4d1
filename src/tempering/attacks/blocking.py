"""Which stages of a model lose the gradient, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tempering.attacks.base import Problem
from tempering.core.errors import NoGradientError
from tempering.core.goals import log_odds
from tempering.core.probe import Probe

_VANISHED = 1e-30
"""Largest entry of a gradient that counts as none."""


def declared(model: nn.Module) -> list[str]:
    """Stages that say of themselves that their own gradient is not to be trusted.

    A module says so by `differentiable = False`, or by `adaptive_backward = True`
    (core/backward.py).
    """
    return [
        name
        for name, module in model.named_modules()
        if name
        and (
            getattr(module, "differentiable", True) is False
            or getattr(module, "adaptive_backward", False)
        )
    ]


def vanished(probe: Probe, problem: Problem) -> Tensor:
    """Samples whose image has no gradient at all, shape (n,), bool."""
    return torch.cat([_lost(probe, problem, rows) for rows in problem.batches()])


def _lost(probe: Probe, problem: Problem, rows: Tensor) -> Tensor:
    try:
        gradient = _gradient(probe, problem, rows)
    except NoGradientError:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return gradient.flatten(1).abs().amax(1) <= _VANISHED


def _gradient(probe: Probe, problem: Problem, rows: Tensor) -> Tensor:
    def loss(logits: Tensor) -> Tensor:
        return log_odds(logits, problem.goal.protected(problem.y[rows], logits.shape[1]))

    return probe.gradient(problem.x[rows], loss, problem.streams.index[rows])[1]


def blocking(probe: Probe, problem: Problem, rows: Tensor) -> list[list[str]]:
    """The stages at which gradients end, for each of some samples.

    A stage blocks a sample if a gradient reaches its output and none leaves its input, or
    if its input has a gradient and its output cannot have one.
    Only stages that keep shapes are looked at, since the identity can stand in for
    those; of a stage and a part of it, the part.

    Args:
        probe: The model.
        problem: Images.
        rows: Samples, shape (m,), int64.

    Returns:
        Names of modules for each row.
    """
    found: list[list[str]] = []
    for at in range(0, len(rows), problem.batch_size):
        part = rows[at : at + problem.batch_size]
        with _watched(probe.model) as seen, suppress(NoGradientError):
            _gradient(probe, problem, part)
        blocks = {name: (came & ~left).tolist() for name, (came, left) in seen.items()}
        for number in range(len(part)):
            names = [name for name, blocked in blocks.items() if blocked[number]]
            found.append([name for name in names if not _has_part(name, names)])
    return found


def cut(probe: Probe, problem: Problem) -> str | None:
    """The stage in which the gradient is cut off, whatever its shapes; None if in none."""
    ends: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def passed(_module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            came = any(isinstance(one, Tensor) and one.requires_grad for one in given)
            if came and isinstance(out, Tensor) and not out.requires_grad:
                ends.append(name)

        return passed

    with ExitStack() as hooks, suppress(NoGradientError):
        for name, module in probe.model.named_modules():
            if name:
                hooks.callback(module.register_forward_hook(watch(name)).remove)
        _gradient(probe, problem, torch.arange(len(problem.x), device=problem.x.device))
    return ends[0] if ends else None


def _has_part(name: str, names: list[str]) -> bool:
    return any(other.startswith(f"{name}.") for other in names)


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Note for each stage on which samples a gradient came, and on which one left."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def passed(_module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            first = given[0] if given else None
            if not isinstance(first, Tensor) or not isinstance(out, Tensor):
                return
            if first.shape != out.shape or not first.requires_grad:
                return
            none = torch.zeros(len(out), dtype=torch.bool, device=out.device)
            if not out.requires_grad:
                if out.is_floating_point():
                    seen[name] = (~none, none)
                return
            seen[name] = (none, none.clone())

            def note(which: int, gradient: Tensor) -> None:
                seen[name][which].logical_or_(_some(gradient))

            out.register_hook(partial(note, 0))  # type: ignore[no-untyped-call]
            first.register_hook(partial(note, 1))  # type: ignore[no-untyped-call]

        return passed

    try:
        for name, module in model.named_modules():
            if name:
                handles.append(module.register_forward_hook(watch(name)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _some(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).abs().amax(1) > _VANISHED
