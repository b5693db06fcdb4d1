"""Attack samples and check every proposal: this process's share, batch by batch."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tempering.certification.fixed_function import seeded
from tempering.core.backward import true_gradient
from tempering.core.engine import Engine
from tempering.core.errors import UsageError
from tempering.core.goals import EvadeDetector, Goal, Targeted, Untargeted
from tempering.core.passes import Passes, SampleCounts, counted, counted_per_sample
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.records import Cost
from tempering.core.threats import Threat
from tempering.core.user_code import moved
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult, by_part, join
from tempering.evaluation.proposals import check_proposal, propose
from tempering.evaluation.stages import Stage
from tempering.evaluation.target import Target
from tempering.evaluation.transfer import Attempt, attempts
from tempering.evaluation.verdicts import Chunk, Predictions, judge, predict
from tempering.evaluation.worst import worst_of

BATCHES = 2
"""Batches that an attack is given at a time: enough to refill places that become free."""


@dataclass(frozen=True, eq=False)
class AttackTask:
    """An attack, and what it is run for.

    Attributes:
        stage: The attack, what it knows, and which gradient it sees.
        threat: What may change.
        source: The model that adversarial images are made on; None for the target itself.
        goal: What counts as success. None for an untargeted attack that leads each sample away
            from the class that the target predicts (the true class on a source), and that
            evades the target's flag where it has one.
        labels: What the goal is about, shape (n,), int64, over all samples of the data; None
            for the true classes. Only with a goal.

    Raises:
        UsageError: If access and source do not fit together.
    """

    stage: Stage
    threat: Threat
    source: nn.Module | None = None
    goal: Goal | None = None
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        access = self.stage.access
        if access == "any" or (self.source is None) != (access in ("white", "black")):
            raise UsageError(
                f"access {access!r} with{'out' if self.source is None else ''} a source model: "
                "give none for white and black, and one for gray-surrogate, gray-before or stale"
            )

    def attempts(self) -> list[Attempt]:
        """What is tried: with gray-box access every restart, at full strength."""
        attack = self.stage.attack
        return attempts(attack) if self.stage.access.startswith("gray") else [Attempt(attack)]

    def labels_of(self, chunk: Chunk) -> Tensor:
        """What the attack is told, shape (n,), int64, on the device of the chunk."""
        if self.labels is not None:
            return self.labels[chunk.rows].to(chunk.y.device)
        if self.goal is not None or self.source is not None:
            return chunk.y.clone()
        return chunk.clean.predicted.to(chunk.y.device)

    def gradient(self) -> AbstractContextManager[None]:
        """Within it, the attack sees the gradient that the stage names."""
        return true_gradient() if self.stage.backward == "true" else nullcontext()


@dataclass(frozen=True, eq=False)
class SampleOutcomes:
    """What became of some samples under an attack.

    Attributes:
        per_sample: One row a sample, in the order in which samples were named.
        no_start: Samples for which a decision attack found no image to start from, so that its
            failure says nothing about the model, shape (m,), bool.
        no_gradient: Samples with a gradient that was not finite, shape (m,), bool.
        cost: Passes of all processes, and the time of the slowest one.
    """

    per_sample: PerSampleResult
    no_start: Tensor
    no_gradient: Tensor
    cost: Cost


def attack_samples(
    context: EvalContext, target: Target, task: AttackTask, clean: Predictions, rows: Tensor
) -> SampleOutcomes:
    """Run an attack on some samples, and check its proposals on the target.

    An attack whose proposals depend on other samples of the batch is given all samples at
    once, in the process that leads.

    Args:
        context: Data, engine and seed.
        target: The model under attack; it is moved to the engine's device.
        task: The attack.
        clean: The target's predictions for all samples of the data.
        rows: Sample numbers, shape (m,), int64.

    Returns:
        One row a sample of `rows`, equal in every process.

    Raises:
        AttackError: If a proposal breaks the rules; names the attack and the sample.
        ModelError: If a model does not answer with finite logits.
        ThreatError: If the attack does not know the threat's norm.
    """
    engine, stage, size = context.engine, task.stage, context.batch_size
    model = moved(target.model, engine.device)
    attacked = model if task.source is None else moved(task.source, engine.device)
    goal = task.goal or Untargeted()
    together = stage.attack.batch_dependent()
    own = _own_rows(engine, rows, together)
    part = max(1, len(rows)) if together else BATCHES * size
    done: list[PerSampleResult] = []
    no_start = [torch.zeros(0, dtype=torch.bool)]
    no_gradient = [torch.zeros(0, dtype=torch.bool)]
    started, robust = time.perf_counter(), 0
    title = f"{target.subject}: {stage.attack.label()}, {stage.access}"
    with counted() as passes, track(title, len(rows)) as advance, context.naming():
        for at in range(0, max(1, len(own)), part):
            chunk = Chunk.of(context, clean, own[at : at + part])
            results: list[PerSampleResult] = []
            with counted_per_sample() as counts:
                for attempt in task.attempts():
                    attack, labels = attempt.attack, task.labels_of(chunk)
                    streams = _streams(context, attempt, chunk.keys, goal)
                    with task.gradient(), _repeatable(context, target, attempt, chunk):
                        x_adv = attack(
                            attacked, chunk.x.clone(), labels, task.threat, streams, goal, size
                        )
                    check_proposal(attack.label(), x_adv, chunk.x, task.threat, chunk.keys)
                    first = judge(target, chunk, x_adv, task.threat, size)
                    results.append(_with_evasion(context, target, task, attempt, chunk, first))
            done.append(_with_passes(worst_of(results), chunk.keys, counts))
            no_start.append(_counted(counts.no_start, chunk.keys))
            no_gradient.append(_counted(counts.no_gradient, chunk.keys))
            robust += int(done[-1].robust.sum())
            reached = min(len(rows), (at + len(chunk)) * (1 if together else engine.world_size))
            advance(reached, f"{robust} of {at + len(chunk)} robust")
    cost = _total(engine, passes, time.perf_counter() - started)

    def of_all(values: list[Tensor]) -> Tensor:
        return _gathered(engine, values[0], len(rows), together)

    return SampleOutcomes(
        by_part(of_all, join(done)),
        of_all([torch.cat(no_start)]),
        of_all([torch.cat(no_gradient)]),
        cost,
    )


def _counted(counts: Counter[int], keys: Tensor) -> Tensor:
    """Which samples were counted, shape (n,), bool."""
    return torch.tensor([counts[key] > 0 for key in keys.tolist()], dtype=torch.bool)


def _repeatable(
    context: EvalContext, target: Target, attempt: Attempt, chunk: Chunk
) -> AbstractContextManager[None]:
    """Within it, what a random model draws depends on seed, attack and samples alone."""
    if target.draws is None or not len(chunk):
        return nullcontext()
    key = derive(context.seed, attempt.attack.label(), *attempt.restarts, int(chunk.keys[0]))
    return seeded(key, chunk.x.device)


def _own_rows(engine: Engine, rows: Tensor, together: bool) -> Tensor:
    if together:
        return rows if engine.is_main else rows[:0]
    return rows[engine.shard(len(rows))]


def _streams(context: EvalContext, attempt: Attempt, keys: Tensor, goal: Goal) -> RandomStreams:
    streams = attempt.streams(context.streams(attempt.attack, keys))
    if isinstance(goal, EvadeDetector):
        return streams.derive("evade")
    return streams.derive("availability") if isinstance(goal, Targeted) else streams


def _with_evasion(
    context: EvalContext,
    target: Target,
    task: AttackTask,
    attempt: Attempt,
    chunk: Chunk,
    first: PerSampleResult,
) -> PerSampleResult:
    """Attack samples once more that ended in the true class or the flag: neither is wanted.

    A gray-box attacker does so where the model that they own flags their first image. Images
    made long ago (`stale`) are not adapted.
    """
    flag, size = target.flag, context.batch_size
    if flag is None or task.goal is not None or task.stage.access == "stale":
        return first
    again = first.robust if first.detected is None else first.detected
    attacked = target.model
    if task.source is not None and first.x_adv is not None:
        attacked = task.source
        images = first.x_adv.to(chunk.x.device)
        again = again & (predict(attacked, images, chunk.y, chunk.keys, size).predicted == flag)
    rows = again.nonzero()[:, 0]
    if not len(rows):
        return first
    part, goal = chunk.at(rows), EvadeDetector(flag)
    streams = _streams(context, attempt, part.keys, goal)
    with task.gradient():
        x_adv = propose(
            attacked, attempt.attack, part.x, task.labels_of(part), task.threat, streams, goal, size
        )
    evaded = judge(target, part, x_adv, task.threat, size)
    return first.put(rows, worst_of([first.at(rows), evaded]))


def _with_passes(
    per_sample: PerSampleResult, keys: Tensor, counts: SampleCounts
) -> PerSampleResult:
    """With what each sample took, its verdict among it."""
    forwards, backwards = (
        torch.tensor([count[key] for key in keys.tolist()], dtype=torch.int64)
        for count in (counts.forward, counts.backward)
    )
    return replace(per_sample, forwards=forwards, backwards=backwards)


def _total(engine: Engine, passes: Passes, seconds: float) -> Cost:
    """Passes of all processes, and the time of the slowest."""
    spent = torch.tensor([[passes.forward, passes.backward, seconds]], dtype=torch.float64)
    forward, backward, slowest = engine.gather(spent, engine.world_size).unbind(1)
    return Cost(
        forward=int(forward.sum()), backward=int(backward.sum()), seconds=float(slowest.max())
    )


def _gathered(engine: Engine, values: Tensor, n: int, together: bool) -> Tensor:
    """The rows of all processes, or those of the lead process, on the CPU."""
    if not together:
        return engine.gather(values, n)
    if engine.world_size == 1:
        return values.cpu()
    whole = values if engine.is_main else values.new_zeros((n, *values.shape[1:]))
    return engine.broadcast(whole).cpu()
