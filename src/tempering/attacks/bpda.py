"""BPDA: attacks through stages that hide their gradient."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.blocking import blocking, cut, declared, vanished
from tempering.attacks.hard import HardFunctions
from tempering.attacks.straight import Approximation, StraightFunctions, straightened
from tempering.attacks.wrapping import Wrapping
from tempering.core.errors import AttackError, NoGradientError
from tempering.core.probe import Probe


@dataclass(frozen=True)
class BPDA(Wrapping):
    """Backward pass differentiable approximation: the forward as it is, the backward of another.

    Athalye, Carlini and Wagner, 'Obfuscated gradients give a false sense of security',
    2018, section 4.1. The stages are those that are named, and those that declare
    themselves (`differentiable = False`). For every sample whose gradient is exactly
    zero, or cut off, more is sought, in this order: functions that have no gradient
    anywhere, such as comparisons and rounding, wherever they are called; the stages at
    which the gradient ends; and functions that lose it where they saturate, such as
    clamp and softmax. Which of these a sample needs is decided for each sample, so its
    result does not depend on its batch. While the attack runs, hooks let gradients pass;
    then the model is as it was. What leaves torch, such as numpy, can be passed only
    where a module holds it.

    Attributes:
        attack: What runs.
        stages: Names of modules to pass through, besides those that are found.
        approximation: A differentiable stand-in for the named stages; None for the
            identity.

    Raises:
        UsageError: When run, if a named stage is none of the model's.
        AttackError: When run, if no gradient was found: says where it ends.

    Example:
        >>> from tempering.attacks import PGD
        >>> BPDA(PGD(steps=40), stages=("0",)).label()
        'pgd-40+bpda'
    """

    name: ClassVar[str] = "bpda"
    source: ClassVar[str] = "Athalye, Carlini and Wagner, 2018"
    cost: ClassVar[str] = "its attack's, and up to 5 gradients a sample"

    stages: tuple[str, ...] = ()
    approximation: Approximation | None = None

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The attack's proposals; samples that need the same stages run together."""
        known = [name for name in declared(probe.model) if name not in self.stages]
        out = problem.x.clone()
        with (
            straightened(probe.model, self.stages, self.approximation),
            straightened(probe.model, known, None),
        ):
            lost = vanished(probe, problem)
            plain = (~lost).nonzero()[:, 0]
            if len(plain):
                out[plain] = self.attack.propose(probe, _at(problem, plain))
            blind = lost.nonzero()[:, 0]
            if len(blind):
                out[blind] = self._through_steps(probe, _at(problem, blind))
        return out

    def _through_steps(self, probe: Probe, problem: Problem) -> Tensor:
        """Attack samples without a gradient: through functions that never have one, or stages."""
        out = problem.x.clone()
        with HardFunctions():
            still = vanished(probe, problem)
            seeing = (~still).nonzero()[:, 0]
            if len(seeing):
                out[seeing] = self.attack.propose(probe, _at(problem, seeing))
        for stages, rows in self._groups(probe, problem, still.nonzero()[:, 0]).items():
            with straightened(probe.model, stages, None):
                out[rows] = self._through_stages(probe, _at(problem, rows))
        return out

    def _groups(
        self, probe: Probe, problem: Problem, rows: Tensor
    ) -> dict[tuple[str, ...], Tensor]:
        """Samples without a gradient, by the stages at which it ends."""
        groups: dict[tuple[str, ...], list[int]] = {}
        if len(rows):
            for row, names in zip(rows.tolist(), self._ends(probe, problem, rows), strict=True):
                groups.setdefault(names, []).append(row)
        return {names: torch.tensor(some, device=rows.device) for names, some in groups.items()}

    def _ends(self, probe: Probe, problem: Problem, rows: Tensor) -> list[tuple[str, ...]]:
        """Stages that must let gradients pass; one may hide another, so look again behind it."""
        ends = [tuple(names) for names in blocking(probe, problem, rows)]
        for _ in range(_DEPTH):
            more = list(ends)
            for names in set(ends) - {()}:
                own = torch.tensor([number for number, one in enumerate(ends) if one == names])
                part = _at(problem, rows[own.to(rows.device)])
                with straightened(probe.model, names, None):
                    everyone = torch.arange(len(own), device=rows.device)
                    for number, further in zip(
                        own.tolist(), blocking(probe, part, everyone), strict=True
                    ):
                        more[number] = (*names, *further)
            if more == ends:
                break
            ends = more
        return ends

    def _through_stages(self, probe: Probe, problem: Problem) -> Tensor:
        """Attack such samples through stages; where there still is none, through functions too."""
        still = vanished(probe, problem)
        out = problem.x.clone()
        for lost in (False, True):
            rows = (still == lost).nonzero()[:, 0]
            if not len(rows):
                continue
            with StraightFunctions() if lost else nullcontext(), HardFunctions():
                try:
                    out[rows] = self.attack.propose(probe, _at(problem, rows))
                except NoGradientError as error:
                    raise AttackError(_advice(probe, _at(problem, rows))) from error
        return out

    def settings(self) -> dict[str, Any]:
        """Stages, and the name of what stands in for them."""
        return {
            "stages": list(self.stages),
            "approximation": getattr(self.approximation, "__name__", None),
        }


_DEPTH = 8
"""Stages one behind the other that are looked for."""


def _advice(probe: Probe, problem: Problem) -> str:
    """What to do where no gradient was found."""
    first = _at(problem, torch.zeros(1, dtype=torch.int64, device=problem.x.device))
    ends = cut(probe, first)
    where = f"in stage {ends!r}" if ends else "outside of any stage that takes and gives images"
    name = ends or "NAME"
    return (
        f"bpda: the gradient ends {where}: make that a module of the model and give "
        f"BPDA(..., stages=({name!r},), approximation=...), a differentiable stand-in for it"
    )


def _at(problem: Problem, rows: Tensor) -> Problem:
    return replace(problem, x=problem.x[rows], y=problem.y[rows], streams=problem.streams[rows])
