"""The cascade: attack after attack, each only on samples that are still undecided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import AttackError, NoGradientError
from tempering.core.progress import silence, track
from tempering.core.records import Access, Cost
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.deadline import Deadline, OutOfTimeError
from tempering.evaluation.measuring import measure
from tempering.evaluation.per_sample import PerSampleResult, join, lost
from tempering.evaluation.ranking import Tried, in_order
from tempering.evaluation.results import AttackResult, Backward, record
from tempering.evaluation.target import Target
from tempering.evaluation.worst import worst_of

Keep = Callable[[str, Callable[[], Sequence[AttackResult]]], list[AttackResult]]
"""From a name and something to measure to what was measured, now or in a run before."""

BATCHES = 2
"""Of samples that a stage works on at a time, and keeps: what stands to the end fills fewer."""


@dataclass(frozen=True)
class Stage:
    """One attack of a cascade.

    Attributes:
        attack: What proposes.
        access: What it knows.
        backward: The gradient of adaptive stages that it sees.
        hopeful: Whether it may find nothing to follow, and is then passed over.
    """

    attack: Attack
    access: Access = "white"
    backward: Backward = "adaptive"
    hopeful: bool = False

    def __str__(self) -> str:
        known = "" if self.access == "white" else f" ({self.access})"
        return f"{self.attack.label()}{known}{', true gradient' * (self.backward == 'true')}"


@dataclass(frozen=True, eq=False)
class Cascaded:
    """What became of every sample.

    Attributes:
        clean: The target without attack.
        stages: One trial a stage that was begun, in order; what a stage did not work on
            counts as lost in it, so `robust` says what is left after it.
        certified: Samples with a proof, shape (n,), bool.
        worst: The worst case per sample, proofs included.
        broken_by: What broke each sample; empty where nothing did.
        schedule: What the survey found, in the order of the stages; empty without one.
        unfinished: Stages that the time did not suffice for -> samples they left out.
        helpless: Stages that found no gradient to follow -> what they said.
    """

    clean: AttackResult
    stages: tuple[AttackResult, ...]
    certified: Tensor
    worst: AttackResult
    broken_by: tuple[str, ...]
    schedule: tuple[str, ...]
    unfinished: Mapping[str, int]
    helpless: Mapping[str, str]


def straight(_name: str, work: Callable[[], Sequence[AttackResult]]) -> list[AttackResult]:
    """Keep nothing: measure now."""
    return list(work())


class Cascade:
    """Samples on their way through attacks.

    Attributes:
        standing: Samples on which no attack has succeeded, those with a proof included,
            shape (n,), bool. Of a model with an adversarial class: not unnoticed.
    """

    def __init__(
        self,
        context: EvalContext,
        target: Target,
        threat: Threat,
        clean: AttackResult,
        *,
        access: Access = "white",
        certified: Tensor | None = None,
        sources: Mapping[Access, nn.Module] | None = None,
        keep: Keep = straight,
        deadline: Deadline | None = None,
    ) -> None:
        """Begin.

        Args:
            context: Data, engine and seed.
            target: The model that judges.
            threat: What may change.
            clean: The target without attack.
            access: What its attackers know, for the record.
            certified: Samples with a proof, shape (n,), bool.
            sources: The models of gray-box attackers.
            keep: Keeps what was measured, `BATCHES` of one stage at a time.
            deadline: When to stop; None for never.
        """
        self.context, self.target, self.threat = context, target, threat
        self.clean, self.sources, self.keep = clean, dict(sources or {}), keep
        self.access: Access = access
        self.deadline = deadline or Deadline.never()
        nothing = torch.zeros(context.n, dtype=torch.bool)
        self.certified = nothing if certified is None else certified
        self.standing = _stands(clean.per_sample)
        self.results: list[AttackResult] = []
        self.unfinished: dict[str, int] = {}
        self.helpless: dict[str, str] = {}
        self.broken_by = [""] * context.n
        self.schedule: tuple[str, ...] = ()
        self._surveyed = torch.zeros(context.n, dtype=torch.bool)
        self._met: set[str] = set()

    def undecided(self, stage: Stage | None = None) -> Tensor:
        """Samples neither broken nor proven, shape (m,), int64; those that a stage has not met."""
        waiting = self.standing & ~self.certified
        if str(stage) in self._met:
            waiting = waiting & ~self._surveyed
        return waiting.nonzero()[:, 0]

    def survey(self, stages: Sequence[Stage], samples: int) -> list[Stage]:
        """Try all stages but the dearest on the first undecided samples, and learn an order.

        The dearest goes last whatever it would break there. No pass is made twice: what the
        samples of the survey have met they do not meet again.

        Args:
            stages: At least one.
            samples: On how many samples.

        Returns:
            The stages in their order; all of them as they were if there was no time.
        """
        last = max(stages, key=lambda stage: stage.attack.effort())
        others = [stage for stage in stages if stage is not last]
        rows = self.undecided()[:samples]
        if not len(rows) or not others:
            return list(stages)
        results: list[AttackResult] = []
        with track(f"survey of {len(rows)} samples", len(others)) as advance:
            for number, stage in enumerate(others):
                name = f"survey-{self.access}-{number:02d}"
                try:
                    results += self.keep(name, partial(self._trials, stage, rows))
                except (OutOfTimeError, NoGradientError):
                    return list(stages)
                advance(number + 1, "")
        by_name = {str(stage): stage for stage in others}
        tried = [
            Tried(name, ~_stands(result.per_sample), _passes(result))
            for name, result in zip(by_name, results, strict=True)
        ]
        places = in_order(tried)
        learned = [f"{place} of the first {len(rows)}" for place in places]
        self.schedule = (*learned, f"{last}: goes last")
        order = [by_name[place.name] for place in places]
        ranked = [results[others.index(stage)] for stage in order]
        rest = [result for result in results if not any(result is one for one in ranked)]
        self._take([*ranked, *rest], rows)
        self._met, self._surveyed[rows] = set(by_name), True
        return [*order, last]

    def _take(self, results: Sequence[AttackResult], rows: Tensor) -> None:
        """Several attacks on the same samples, as one stage."""
        per_sample = worst_of([result.per_sample for result in results])
        for result in reversed(results):
            for row in rows[~_stands(result.per_sample)].tolist():
                self.broken_by[row] = result.measurement.attack
        labels = [result.measurement.attack for result in results]
        config = {"name": "survey", "attacks": [result.measurement.config for result in results]}
        costs = [result.measurement.cost for result in results]
        joined = self._spread("survey", config | {"over": labels}, rows, per_sample, costs)
        self.standing = self.standing & _stands(joined.per_sample)
        self.results.append(joined)

    def run(self, stages: Sequence[Stage], among: Tensor | None = None) -> None:
        """Go through some stages; those for which there is no time are noted.

        Args:
            stages: In their order.
            among: Samples, by number, shape (m,), int64; by default those undecided.
        """
        for stage in stages:
            rows = self.undecided(stage) if among is None else among
            if len(rows):
                self._one(stage, rows)

    def result(self) -> Cascaded:
        """What became of every sample so far."""
        return Cascaded(
            clean=self.clean,
            stages=tuple(self.results),
            certified=self.certified,
            worst=self._worst(),
            broken_by=tuple(self.broken_by),
            schedule=self.schedule,
            unfinished=dict(self.unfinished),
            helpless=dict(self.helpless),
        )

    def _one(self, stage: Stage, rows: Tensor) -> None:
        """One stage, part after part, so that a run that was cut repeats one at most."""
        number, size = len(self.results), BATCHES * self.context.batch_size
        size = len(rows) if stage.attack.batch_dependent() else size
        done: list[AttackResult] = []
        worked, stand = 0, 0
        with track(f"{number + 1}. {stage}", len(rows)) as advance:
            for at in range(0, len(rows), size):
                part = rows[at : at + size]
                name = f"cascade-{self.access}-{number:02d}-{at // size:04d}"
                try:
                    done += self.keep(name, partial(self._trials, stage, part))
                except OutOfTimeError:
                    break
                except (NoGradientError, AttackError) as error:
                    if not (stage.hopeful or isinstance(error, NoGradientError)):
                        raise
                    self.helpless[str(stage)] = str(error)
                    return
                worked += len(part)
                stand += int(_stands(done[-1].per_sample).sum())
                advance(worked, f"{stand} of {worked} stand")
        if worked < len(rows):
            self.unfinished[str(stage)] = len(rows) - worked
        if not worked:
            return
        per_sample = join([result.per_sample for result in done])
        costs = [result.measurement.cost for result in done]
        label, config = stage.attack.label(), stage.attack.config()
        result = self._spread(label, config, rows[:worked], per_sample, costs, stage)
        broken = self.standing & ~_stands(result.per_sample)
        for row in broken.nonzero()[:, 0].tolist():
            self.broken_by[row] = label
        self.standing = self.standing & ~broken
        self.results.append(result)

    def _trials(self, stage: Stage, rows: Tensor) -> list[AttackResult]:
        return [self._measure(stage, rows)]

    def _measure(self, stage: Stage, rows: Tensor) -> AttackResult:
        """One stage on some samples; an outcome of these alone."""
        source = self.sources.get(stage.access)
        with self.deadline.enforced(self.target.model, self.context.engine), silence():
            result = measure(
                self.context,
                self.target,
                stage.attack,
                self.threat,
                protocol="cascade",
                access=stage.access,
                source=source,
                backward=stage.backward,
                rows=rows,
            )
        return result._replace(per_sample=result.per_sample.at(rows))

    def _spread(
        self,
        label: str,
        config: Mapping[str, Any],
        rows: Tensor,
        per_sample: PerSampleResult,
        costs: Sequence[Cost],
        stage: Stage | None = None,
    ) -> AttackResult:
        """What was done on some samples as a trial over all; what was left out stands."""
        untouched = self._untouched()
        others = self.standing.clone()
        others[rows] = False
        left_out = others.nonzero()[:, 0]
        everyone = lost(untouched, self.context.data.x)
        everyone = everyone.put(left_out, untouched.at(left_out)).put(rows, per_sample)
        return record(
            self.context,
            self.target,
            everyone,
            attack=label,
            config=config,
            threat=self.threat,
            protocol="cascade",
            access=stage.access if stage else self.access,
            backward=stage.backward if stage else "adaptive",
            cost=total(costs),
        )

    def _worst(self) -> AttackResult:
        over = [self.clean, *self.results]
        untouched = replace(
            self._untouched(),
            forwards=self.clean.per_sample.forwards,
            backwards=self.clean.per_sample.backwards,
        )
        return record(
            self.context,
            self.target,
            worst_of([untouched, *(result.per_sample for result in self.results)]),
            attack="worst",
            config={"over": [result.measurement.attack for result in over]},
            threat=self.threat,
            protocol="cascade",
            access=self.access,
            cost=total([result.measurement.cost for result in over]),
        )

    def _untouched(self) -> PerSampleResult:
        """The target without attack, as an outcome of an attack that takes no pass."""
        nothing = torch.zeros(self.context.n, dtype=torch.int64)
        return replace(
            self.clean.per_sample, x_adv=self.context.data.x, forwards=nothing, backwards=nothing
        )


def total(costs: Sequence[Cost]) -> Cost:
    """Costs added up."""
    return Cost(
        forward=sum(cost.forward for cost in costs),
        backward=sum(cost.backward for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
    )


def _passes(result: AttackResult) -> int:
    return result.measurement.cost.forward + result.measurement.cost.backward


def _stands(per_sample: PerSampleResult) -> Tensor:
    """Samples on which the attacker has not had all that he wants, shape (n,), bool."""
    return per_sample.robust if per_sample.detected is None else per_sample.detected
