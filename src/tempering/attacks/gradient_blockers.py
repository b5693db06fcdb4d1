"""Finds the stages of a model at which gradients end, sample by sample."""

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
"""Largest gradient entry, in absolute value, that counts as zero."""


def vanished(probe: Probe, problem: Problem) -> Tensor:
    """Samples whose input gradient is zero everywhere or does not exist, shape (n,), bool."""
    return torch.cat([_without_gradient(probe, problem, rows) for rows in problem.batches()])


def _without_gradient(probe: Probe, problem: Problem, rows: Tensor) -> Tensor:
    try:
        gradient = _gradient(probe, problem, rows)
    except NoGradientError:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return gradient.flatten(1).abs().amax(1) <= _VANISHED


def _gradient(probe: Probe, problem: Problem, rows: Tensor) -> Tensor:
    def loss(logits: Tensor) -> Tensor:
        return log_odds(logits, problem.goal.protected(problem.y[rows], logits.shape[1]))

    return probe.gradient(problem.x[rows], loss, problem.streams.index[rows])[1]


def blocking_stages(probe: Probe, problem: Problem, rows: Tensor) -> list[list[str]]:
    """The stages at which the gradient ends, for each sample.

    A stage blocks a sample if a gradient reaches its output and none leaves its input, or if
    its input requires a gradient and its output has none. Only stages that keep shapes are
    considered, because the identity can replace their gradient. If a stage and a part of it
    both block, only the part is named.

    Args:
        probe: The model.
        problem: Images.
        rows: Row numbers of the samples, shape (m,), int64.

    Returns:
        Names of modules for each row.
    """
    names_by_row: list[list[str]] = []
    for at in range(0, len(rows), problem.batch_size):
        part = rows[at : at + problem.batch_size]
        with _watched(probe.model) as seen, suppress(NoGradientError):
            _gradient(probe, problem, part)
        blocks = {name: (came & ~left).tolist() for name, (came, left) in seen.items()}
        for number in range(len(part)):
            names = [name for name, blocked in blocks.items() if blocked[number]]
            names_by_row.append([name for name in names if not _has_part(name, names)])
    return names_by_row


def detaching_stage(probe: Probe, problem: Problem) -> str | None:
    """The first stage whose output is detached from its input, or None if no stage is."""
    ends: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def passed(_module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            came = any(isinstance(value, Tensor) and value.requires_grad for value in given)
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
    """Record for each stage which gradients reach its output, and which leave its input."""
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
                seen[name][which].logical_or_(_nonzero(gradient))

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


def _nonzero(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).abs().amax(1) > _VANISHED
