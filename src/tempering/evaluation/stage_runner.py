"""Attack stages one after the other, each on all samples or on those still undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tempering.core.deadline import Deadline, OutOfTimeError
from tempering.core.errors import AttackError, NoGradientError
from tempering.core.progress import silence, track
from tempering.core.records import Access, Cost
from tempering.evaluation.attack_samples import (
    BATCHES,
    AttackTask,
    SampleOutcomes,
    attack_samples,
)
from tempering.evaluation.flags.impossible_results import check_certificates
from tempering.evaluation.per_sample import PerSampleResult, join, lost
from tempering.evaluation.ranking import RankingTrial, in_order
from tempering.evaluation.results import AttackResult, record
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.stages import Stage
from tempering.evaluation.worst import worst_of

RANKING = "ranking"
"""What records call the attacks on the samples on which their order was learned."""
RANKING_SHARE = 0.25
"""Share of the time that is left for learning the order of attacks."""


@dataclass(frozen=True, eq=False)
class StageLog:
    """What stages have left behind, in order.

    Attributes:
        results: One a stage that was begun.
        schedule: What the ranking of stages found.
        unfinished: Stages that the time did not suffice for -> samples that they left out.
        failed: Stages that could not run on this model -> why.
    """

    results: list[AttackResult] = field(default_factory=list)
    schedule: list[str] = field(default_factory=list)
    unfinished: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class StageRunner:
    """Samples on their way through the stages of one kind of access.

    Attributes:
        robust: Samples on which no attack has succeeded yet, certified ones included, shape
            (n,), bool. Of a model with an adversarial class: on which none went unnoticed.
        certified: Samples with a certificate, shape (n,), bool.
        log: What stages have left behind.
        broken_by: The attack that broke each sample first; empty where none did.
        no_gradient: Samples with a gradient that was not finite, shape (n,), bool.
    """

    def __init__(
        self,
        run: EvaluationRun,
        access: Access = "white",
        certified: Tensor | None = None,
        robust: Tensor | None = None,
        no_gradient: Tensor | None = None,
    ) -> None:
        """Begin with all samples.

        Args:
            run: Data, target, configuration and cache.
            access: What attackers know, for the record.
            certified: Samples with a certificate, shape (n,), bool; none by default.
            robust: Samples that are attacked at all, shape (n,), bool; by default those that
                are right without attack.
            no_gradient: Samples whose gradient is known not to be finite, shape (n,), bool.
        """
        n = run.context.n
        self.run, self.access = run, access
        self.certified = torch.zeros(n, dtype=torch.bool) if certified is None else certified
        self.robust = survives(run.clean.per_sample) if robust is None else robust
        self.log = StageLog()
        self.broken_by = [""] * n
        self.no_gradient = torch.zeros(n).bool() if no_gradient is None else no_gradient
        self._ranked_on = torch.zeros(n, dtype=torch.bool)
        self._ranked: list[Stage] = []

    def undecided(self, stage: Stage | None = None) -> Tensor:
        """Samples neither broken nor certified that a stage has not met, shape (m,), int64."""
        undecided = self.robust & ~self.certified
        if any(stage is ranked for ranked in self._ranked):
            undecided = undecided & ~self._ranked_on
        return undecided.nonzero()[:, 0]

    def add_certificates(self, certified: Tensor) -> None:
        """Skip more samples from now on.

        Args:
            certified: Samples with a certificate, shape (n,), bool.
        """
        self.certified = self.certified | certified

    def run_stages(self, stages: Sequence[Stage], among: Tensor | None = None) -> None:
        """Run some stages; those for which there is no time are noted.

        Samples are worked on part after part, so that an interrupted run repeats one part.

        Args:
            stages: In their order.
            among: Samples, by number, shape (m,), int64; by default all of a stage on all
                samples, and the undecided ones otherwise.

        Raises:
            CertificateError: If a stage broke a certified sample.
        """
        run, context = self.run, self.run.context
        for stage in stages:
            rows = self._rows(stage) if among is None else among
            number, size = len(self.log.results), BATCHES * context.batch_size
            size = max(1, len(rows)) if stage.attack.batch_dependent() else size
            which = "all" if stage.all_samples else "undecided"
            done: list[SampleOutcomes] = []
            title = f"{run.target.subject}: {stage}"
            with track(title, len(rows)) as advance:
                for at in range(0, len(rows), size):
                    part = rows[at : at + size]
                    name = f"{which}-{stage.access}-{number:02d}-{at // size:04d}"
                    try:
                        with run.deadline.enforced(context.engine), silence():
                            done.append(run.cache.get(name, self._attack(stage, part)))
                    except OutOfTimeError:
                        if not stage.optional:
                            self.log.unfinished[str(stage)] = len(rows) - at
                        break
                    except (NoGradientError, AttackError) as error:
                        if not (stage.optional or isinstance(error, NoGradientError)):
                            raise
                        self.log.failed[str(stage)] = str(error)
                        done = []
                        break
                    left = sum(int(survives(outcome.per_sample).sum()) for outcome in done)
                    advance(at + len(part), f"{left} of {at + len(part)} robust")
            if done:
                self._add(stage, rows, done)

    def rank(self, stages: Sequence[Stage], samples: int, selective: bool = True) -> list[Stage]:
        """Order stages by what they break for their passes on the first undecided samples.

        The stage of the most effort goes last whatever it would break there. No pass is made
        twice: what these samples have met they do not meet again.

        Args:
            stages: At least one.
            samples: On how many samples.
            selective: Whether stages that break nothing there are left out.

        Returns:
            The stages in their order. Against the clock a quarter of the time that is left is
            spent; stages that it does not suffice for come next to last, as they were.
        """
        last = max(stages, key=lambda stage: stage.attack.effort())
        others = [stage for stage in stages if stage is not last]
        rows = self.undecided()[:samples]
        if not len(rows) or not others:
            return list(stages)
        outcomes: list[SampleOutcomes] = []
        run = self.run
        limit = Deadline.after(run.deadline.left * RANKING_SHARE)
        with track(f"{run.target.subject}: ranking on {len(rows)} samples", len(others)) as advance:
            for number, stage in enumerate(others):
                name = f"ranking-{stage.access}-{number:02d}"
                try:
                    with limit.enforced(run.context.engine), silence():
                        outcomes.append(run.cache.get(name, self._attack(stage, rows)))
                except OutOfTimeError:
                    break
                except NoGradientError:
                    return list(stages)
                advance(number + 1, "")
        untried = others[len(outcomes) :]
        others = others[: len(outcomes)]
        if not outcomes:
            return [*untried, last]
        trials = [
            RankingTrial(
                str(stage),
                ~survives(outcome.per_sample),
                outcome.cost.forward + outcome.cost.backward,
            )
            for stage, outcome in zip(others, outcomes, strict=True)
        ]
        places = in_order(trials)
        self.log.schedule.extend(f"{place} of the first {len(rows)}" for place in places)
        self.log.schedule.append(f"{last}: goes last")
        chosen = [trials.index(place.trial) for place in places]
        rest = [number for number in range(len(others)) if number not in chosen]
        self._add_ranking([(others[number], outcomes[number]) for number in chosen + rest], rows)
        self._ranked, self._ranked_on[rows] = others, True
        order = chosen if selective else chosen + rest
        return [*(others[number] for number in order), *untried, last]

    def _rows(self, stage: Stage) -> Tensor:
        return torch.arange(self.run.context.n) if stage.all_samples else self.undecided(stage)

    def _attack(self, stage: Stage, rows: Tensor) -> partial[SampleOutcomes]:
        run = self.run
        source = run.config.sources.get(stage.access)
        task = AttackTask(stage, run.threat, source)
        return partial(attack_samples, run.context, run.target, task, run.predictions, rows)

    def _add(self, stage: Stage, rows: Tensor, done: Sequence[SampleOutcomes]) -> None:
        per_sample = join([outcome.per_sample for outcome in done])
        self._note_gradients(rows, done)
        cost = Cost.total(outcome.cost for outcome in done)
        label, config = stage.attack.label(), stage.attack.config()
        result = self._record(label, config, rows[: len(per_sample)], per_sample, cost, stage)
        self._mark(label, ~survives(result.per_sample) & self.robust)
        self.log.results.append(result)

    def _add_ranking(self, ranked: Sequence[tuple[Stage, SampleOutcomes]], rows: Tensor) -> None:
        """Several attacks on the same samples, as one stage."""
        for _, outcomes in ranked:
            self._note_gradients(rows, [outcomes])
        for stage, outcomes in ranked:
            broken = torch.zeros_like(self.robust)
            broken[rows] = ~survives(outcomes.per_sample)
            self._mark(stage.attack.label(), broken & self.robust)
        labels = [stage.attack.label() for stage, _ in ranked]
        attacks = [stage.attack.config() for stage, _ in ranked]
        self.log.results.append(
            self._record(
                RANKING,
                {"name": RANKING, "attacks": attacks, "over": labels},
                rows,
                worst_of([outcome.per_sample for _, outcome in ranked]),
                Cost.total(outcome.cost for _, outcome in ranked),
            )
        )

    def _note_gradients(self, rows: Tensor, done: Sequence[SampleOutcomes]) -> None:
        bad = torch.cat([outcomes.no_gradient for outcomes in done])
        self.no_gradient[rows[: len(bad)][bad]] = True

    def _mark(self, label: str, broken: Tensor) -> None:
        """Note which attack broke samples; breaking a certified one is an error."""
        with self.run.context.naming():
            check_certificates(self.certified, broken, label, self.run.context.keys)
        for row in broken.nonzero()[:, 0].tolist():
            self.broken_by[row] = label
        self.robust = self.robust & ~broken

    def _record(
        self,
        label: str,
        config: Mapping[str, Any],
        rows: Tensor,
        per_sample: PerSampleResult,
        cost: Cost,
        stage: Stage | None = None,
    ) -> AttackResult:
        """The record of a stage over all samples; undecided ones that it left out are robust."""
        run = self.run
        unattacked, x = run.unattacked(), run.context.data.x
        left_out = self.robust.clone()
        left_out[rows] = False
        others = left_out.nonzero()[:, 0]
        everyone = lost(unattacked, x).put(others, unattacked.at(others)).put(rows, per_sample)
        return record(
            run.context,
            run.target,
            everyone,
            attack=label,
            config=config,
            threat=run.threat,
            protocol="standard" if stage is not None and stage.all_samples else "cascade",
            access=self.access if stage is None else stage.access,
            backward="adaptive" if stage is None else stage.backward,
            cost=cost,
        )


def survives(per_sample: PerSampleResult) -> Tensor:
    """Samples on which the attacker has not reached everything, shape (n,), bool."""
    return per_sample.robust if per_sample.detected is None else per_sample.detected
