"""BPDA: attacks through stages that have no useful gradient."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.attacks.fooled import fooled
from tempering.attacks.gradient_blockers import blocking_stages, detaching_stage, vanished
from tempering.attacks.hard_functions import HardFunctions
from tempering.attacks.straight_through import (
    Approximation,
    SaturatingFunctions,
    replaced_gradients,
)
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import AttackError, NoGradientError
from tempering.core.probe import Probe


@dataclass(frozen=True)
class BPDA(AttackWrapper):
    """Backward pass differentiable approximation: the true forward, another backward.

    Athalye, Carlini and Wagner, 'Obfuscated gradients give a false sense of security', 2018,
    section 4.1. Stages that declare their gradient (`core.backward`) need no BPDA: every
    attack uses what they declare. This attack adds the stages that are named here, and for
    each sample whose gradient is still zero or missing it replaces, in this order: functions
    that never have a gradient, such as comparisons and rounding; stages at which the gradient
    ends; functions that saturate, such as clamp and softmax. Samples with a gradient that are
    not fooled are attacked once more with functions replaced that saturate on the way. This is
    decided sample by sample, so the result does not depend on the batch. Hooks are removed
    afterwards. Code that leaves torch, such as numpy, can only be passed if it is inside a
    module of its own.

    Attributes:
        attack: The attack that runs.
        stages: Names of modules whose gradient is replaced, besides those found.
        approximation: Differentiable approximation of the named stages; None for the
            identity.

    Raises:
        UsageError: When run, if the model has no stage of that name.
        AttackError: When run, if no gradient can be found; names where it ends.

    Example:
        >>> from tempering.attacks import PGD
        >>> BPDA(PGD(steps=40), stages=("0",)).label()
        'pgd-40+bpda'
    """

    name: ClassVar[str] = "bpda"
    source: ClassVar[str] = "Athalye, Carlini and Wagner, 2018"
    cost: ClassVar[str] = "up to twice its attack's, and up to 5 gradients a sample"

    stages: tuple[str, ...] = ()
    approximation: Approximation | None = None

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Attack samples with a gradient as they are, and the others with replaced gradients."""
        x_adv = problem.x.clone()
        with replaced_gradients(probe.model, self.stages, self.approximation):
            lost = vanished(probe, problem)
            with_gradient = (~lost).nonzero()[:, 0]
            if len(with_gradient):
                part = problem.part(with_gradient)
                x_adv[with_gradient] = self._again(probe, part, self.attack.propose(probe, part))
            without = lost.nonzero()[:, 0]
            if len(without):
                x_adv[without] = self._through_hard_functions(probe, problem.part(without))
        return x_adv

    def _again(self, probe: Probe, problem: Problem, x_adv: Tensor) -> Tensor:
        """Attack what is not fooled once more, through functions that saturate on the way."""
        rows = (~fooled(probe, problem, x_adv)).nonzero()[:, 0]
        if not len(rows):
            return x_adv
        part = problem.part(rows)
        part = replace(part, streams=part.streams.derive("saturated"))
        with SaturatingFunctions(), HardFunctions():
            points = self.attack.propose(probe, part)
        better = fooled(probe, part, points)
        x_adv = x_adv.clone()
        x_adv[rows[better]] = points[better]
        return x_adv

    def _through_hard_functions(self, probe: Probe, problem: Problem) -> Tensor:
        """Replace gradients of functions that never have one; for what is left, of stages."""
        x_adv = problem.x.clone()
        with HardFunctions():
            lost = vanished(probe, problem)
            with_gradient = (~lost).nonzero()[:, 0]
            if len(with_gradient):
                x_adv[with_gradient] = self.attack.propose(probe, problem.part(with_gradient))
        for stages, rows in self._groups(probe, problem, lost.nonzero()[:, 0]).items():
            with replaced_gradients(probe.model, stages, None):
                x_adv[rows] = self._through_stages(probe, problem.part(rows))
        return x_adv

    def _groups(
        self, probe: Probe, problem: Problem, rows: Tensor
    ) -> dict[tuple[str, ...], Tensor]:
        """Samples without a gradient, grouped by the stages at which it ends."""
        groups: dict[tuple[str, ...], list[int]] = {}
        if len(rows):
            stages = self._blocking(probe, problem, rows)
            for row, names in zip(rows.tolist(), stages, strict=True):
                groups.setdefault(names, []).append(row)
        return {names: torch.tensor(group, device=rows.device) for names, group in groups.items()}

    def _blocking(self, probe: Probe, problem: Problem, rows: Tensor) -> list[tuple[str, ...]]:
        """Blocking stages of each sample; one may hide another before it, so search repeatedly."""
        stages = [tuple(names) for names in blocking_stages(probe, problem, rows)]
        for _ in range(_MAX_HIDDEN_STAGES):
            longer = list(stages)
            for names in set(stages) - {()}:
                own = torch.tensor([at for at, group in enumerate(stages) if group == names])
                part = problem.part(rows[own.to(rows.device)])
                with replaced_gradients(probe.model, names, None):
                    everyone = torch.arange(len(own), device=rows.device)
                    further = blocking_stages(probe, part, everyone)
                for at, more in zip(own.tolist(), further, strict=True):
                    longer[at] = (*names, *more)
            if longer == stages:
                break
            stages = longer
        return stages

    def _through_stages(self, probe: Probe, problem: Problem) -> Tensor:
        """Attack such samples; where the gradient is still zero, replace saturating functions."""
        lost = vanished(probe, problem)
        x_adv = problem.x.clone()
        for saturated in (False, True):
            rows = (lost == saturated).nonzero()[:, 0]
            if not len(rows):
                continue
            with SaturatingFunctions() if saturated else nullcontext(), HardFunctions():
                try:
                    x_adv[rows] = self.attack.propose(probe, problem.part(rows))
                except NoGradientError as error:
                    raise AttackError(_advice(probe, problem.part(rows))) from error
        return x_adv

    def settings(self) -> dict[str, Any]:
        """Stages, and the name of the approximation."""
        return {
            "stages": list(self.stages),
            "approximation": getattr(self.approximation, "__name__", None),
        }


_MAX_HIDDEN_STAGES = 8
"""How often the search for blocking stages is repeated at most."""


def _advice(probe: Probe, problem: Problem) -> str:
    """What to do where no gradient was found."""
    first = problem.part(torch.zeros(1, dtype=torch.int64, device=problem.x.device))
    stage = detaching_stage(probe, first)
    where = f"in stage {stage!r}" if stage else "outside of any stage that takes and gives images"
    name = stage or "NAME"
    return (
        f"bpda: the gradient ends {where}: make that a module of the model and give "
        f"BPDA(..., stages=({name!r},), approximation=...), a differentiable approximation of it"
    )
