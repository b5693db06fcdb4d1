"""All attacks of an evaluation: on every sample, on undecided ones, and around masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from tempering.attacks.base import Attack
from tempering.attacks.box import Box
from tempering.core.backward import adaptive_stages
from tempering.core.errors import NoGradientError
from tempering.core.input_stages import InputStages
from tempering.core.probe import probing
from tempering.core.records import Access, Flag, PassCounts, StageResult
from tempering.core.user_code import device_of
from tempering.evaluation.availability_attack import NAME as AVAILABILITY
from tempering.evaluation.availability_attack import availability
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.complete_verification import (
    Counterexamples,
    verify_remaining,
)
from tempering.evaluation.evaluation_result import on_all_samples
from tempering.evaluation.masked_gradients import attack_without_gradients, gradients_not_finite
from tempering.evaluation.protocols import GRAY, NAMES, RANKED_ON
from tempering.evaluation.results import AttackResult
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.stage_runner import StageLog, StageRunner, survives
from tempering.evaluation.stages import Stage
from tempering.evaluation.worst import worst_case

_TOLD = {"white": "", GRAY: "gray-box", "gray-before": "gray-box, old model", "stale": "stale"}
"""Access in the names of stages."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """What became of all samples under all stages.

    Attributes:
        results: Clean, stages in order, and the worst cases over white-box access and over all.
        certificates: With what complete verification has added; None if nothing was tried.
        broken_by: The attack that broke each sample first; empty where none did.
        stages: Stage -> samples that are robust after it, and what it took.
        schedule: What the ranking of stages found.
        flags: What the stages themselves say against the numbers.
    """

    results: tuple[AttackResult, ...]
    certificates: CertifiedSamples | None
    broken_by: tuple[str, ...]
    stages: dict[str, StageResult]
    schedule: tuple[str, ...]
    flags: tuple[Flag, ...]


def run_attacks(
    run: EvaluationRun, certificates: CertifiedSamples | None, examination: Sequence[Flag]
) -> Attacked:
    """Run all stages of the protocol.

    Args:
        run: Data, target, configuration and cache.
        certificates: Which samples are certified; None if that was not tried.
        examination: Flags of the examination; masked gradients add stages.

    Raises:
        CertificateError: If an attack broke a certified sample.
        NoGradientError: If no attack could run on the model.
    """
    certified = None if certificates is None else certificates.certified
    everyone = StageRunner(run, certified=certified)
    everyone.run_stages(_stages_on_all_samples(run))
    forced = _forced_flags(run)
    runners, flags = [everyone], list[Flag]()
    surrogates: list[StageRunner] = []
    for access, stages in _stages_on_undecided(run).items():
        robust = everyone.robust & survives(forced.per_sample) if forced else everyone.robust
        runner = StageRunner(run, access, certified, robust.clone(), everyone.no_gradient.clone())
        runner.run_stages(_ordered(run, runner, stages))
        if access == "white":
            surrogates, found = attack_without_gradients(run, runner, examination)
            flags += found
            _require_attacks(run, runner)
            certificates = _verify(run, runner, certificates)
        runners.append(runner)
    runners += surrogates
    flags += gradients_not_finite(run, runners)
    flags += [_out_of_time(runner.log) for runner in runners if runner.log.unfinished]
    results = [_lighter(result) for runner in runners for result in runner.log.results]
    if forced is not None:
        white = [result for result in everyone.log.results if result.measurement.access == "white"]
        results.insert(len(white), forced)
    return Attacked(
        results=(run.clean, *results, *worst_cases(run, results)),
        certificates=certificates,
        broken_by=_broken_by(runners, forced),
        stages=_stage_results(run, runners),
        schedule=tuple(place for runner in runners for place in runner.log.schedule),
        flags=tuple(flags),
    )


def _stages_on_all_samples(run: EvaluationRun) -> list[Stage]:
    """Those of the protocol, and one with the true gradient where stages have another."""
    stages = run.config.protocol.on_all_samples()
    white = [stage for stage in stages if stage.access == "white"]
    others = [stage for stage in stages if stage.access != "white"]
    if white and adaptive_stages(run.target.model):
        white.append(Stage(_main(white), backward="true", all_samples=True))
    return white + others


def _stages_on_undecided(run: EvaluationRun) -> dict[Access, list[Stage]]:
    """Those of the protocol, and the search of `box` behind step functions at the input."""
    protocol, attack = run.config.protocol, Box(starts=1)
    stages = protocol.on_undecided()
    if protocol.name not in NAMES or "white" not in stages:
        return stages
    image = run.context.data.first(1).x.to(device_of(run.target.model))
    with probing(run.target.model) as probe:
        front = InputStages.of(probe, image)
    stepwise = any(stage.stepwise for stage in front.stages)
    if stepwise and attack.searches(front, image, run.threat):
        stages["white"] = [Stage(attack, optional=True), *stages["white"]]
    return stages


def _main(stages: Sequence[Stage]) -> Attack:
    """PGD, or else the attack of the most effort, one that follows gradients if there is one."""

    def key(attack: Attack) -> tuple[bool, bool, int]:
        asks = getattr(attack, "attack", attack).access
        return attack.config()["name"] == "pgd", asks == "gradients", attack.effort()

    return max((stage.attack for stage in stages), key=key)


def _forced_flags(run: EvaluationRun) -> AttackResult | None:
    """Clean samples that an attacker can have flagged, where the model has a flag."""
    white = [stage for stage in run.config.protocol.on_all_samples() if stage.access == "white"]
    if run.target.flag is None or not white:
        return None
    work = partial(
        availability, run.context, run.target, run.threat, _main(white), clean=run.predictions
    )
    return run.cache.get(AVAILABILITY, work)


def _ordered(run: EvaluationRun, runner: StageRunner, stages: list[Stage]) -> list[Stage]:
    """The stages in their order; against the clock the cheapest one meets all samples first."""
    if not (run.config.protocol.ranked and runner.access == "white"):
        return stages
    if run.config.seconds is not None and len(stages) > 1:
        cheapest = min(stages, key=lambda stage: stage.attack.effort())
        runner.run_stages([cheapest])
        stages = [stage for stage in stages if stage is not cheapest]
    return runner.rank(stages, RANKED_ON, run.config.protocol.selective)


def _require_attacks(run: EvaluationRun, runner: StageRunner) -> None:
    """Refuse to call samples robust on which no attack could be run."""
    log = runner.log
    if log.failed and not log.results and len(runner.undecided()):
        raise NoGradientError(
            f"no attack could be made on the model under {run.threat}: "
            f"{next(iter(log.failed.values()))}; or give a threat in linf, l2 or l1, "
            "where attacks without gradients exist"
        )


def _verify(
    run: EvaluationRun, runner: StageRunner, certificates: CertifiedSamples | None
) -> CertifiedSamples | None:
    """Complete verification of what remains, within what certificates have saved."""
    if certificates is None or certificates.unsupported is not None:
        return certificates
    rows = (runner.robust & ~runner.certified).nonzero()[:, 0]
    if not len(rows):
        return certificates
    at = run.context, run.target, run.threat
    work = partial(verify_remaining, *at, certificates, rows, run.deadline)
    verified = run.cache.get("complete-verification", work)
    runner.add_certificates(verified.certified)
    if len(verified.refuted):
        runner.run_stages([Stage(Counterexamples.of(run.context, verified))], verified.refuted)
    return verified


def _out_of_time(log: StageLog) -> Flag:
    """Stages that the time did not suffice for."""
    left = ", ".join(f"{name}: {count}" for name, count in log.unfinished.items())
    return Flag(
        name="out of time",
        meaning="robust samples have not met every attack of the protocol, so the accuracy "
        "is too high",
        remedy="give more time, or fewer samples",
        evidence=f"samples that a stage left out: {left}",
    )


def worst_cases(
    run: EvaluationRun, results: Sequence[AttackResult]
) -> tuple[AttackResult, AttackResult]:
    """Over white-box attacks that can be compared between models, and over everything.

    Args:
        run: Data, target and threat.
        results: Of all attacks, without the one without attack.
    """
    unattacked = run.clean._replace(
        per_sample=replace(run.clean.per_sample, x_adv=run.context.data.x)
    )
    white = [result for result in results if result.measurement.access == "white"]
    compared = on_all_samples(white) or [unattacked, *white]
    everything = list(results) if on_all_samples(white) else [unattacked, *results]
    at = run.context, run.target, run.threat
    return worst_case(*at, compared), worst_case(*at, everything, access="any")


def _broken_by(runners: Sequence[StageRunner], forced: AttackResult | None) -> tuple[str, ...]:
    names = [""] * len(runners[0].broken_by)
    for runner in reversed(runners):
        names = [own or name for own, name in zip(runner.broken_by, names, strict=True)]
    if forced is not None:
        lost = ~survives(forced.per_sample) & runners[0].run.clean.per_sample.robust
        names = [name or AVAILABILITY * bool(lost[row]) for row, name in enumerate(names)]
    return tuple(names)


def _stage_results(run: EvaluationRun, runners: Sequence[StageRunner]) -> dict[str, StageResult]:
    """Samples that are robust after each stage; those of one access are counted down."""
    stages: dict[str, StageResult] = {}
    for runner in runners:
        robust: dict[Access, Tensor] = {}
        for result in runner.log.results:
            access, cost = result.measurement.access, result.measurement.cost
            before = robust.get(access, torch.ones(run.context.n, dtype=torch.bool))
            robust[access] = before & result.per_sample.robust
            stages[_unused(_named(result), stages)] = StageResult(
                survivors=int(robust[access].sum()),
                passes=PassCounts(forward=cost.forward, backward=cost.backward),
                seconds=cost.seconds,
            )
    return stages


def _named(result: AttackResult) -> str:
    """A stage in the record: its attack, and what it knew unless that was everything."""
    measurement = result.measurement
    told = _TOLD.get(measurement.access, f"{measurement.access}-box")
    details = [told] * bool(told) + ["true gradient"] * (measurement.backward == "true")
    return f"{measurement.attack} ({', '.join(details)})" if details else measurement.attack


def _unused(name: str, names: Iterable[str]) -> str:
    """A name that is not among names: the second of the same name is numbered."""
    taken, number, fresh = set(names), 2, name
    while fresh in taken:
        fresh, number = f"{name} #{number}", number + 1
    return fresh


def _lighter(result: AttackResult) -> AttackResult:
    """Without the images of attacks on all samples that are not white-box: nothing shows them."""
    measured = result.measurement
    if measured.protocol == "standard" and measured.access != "white":
        return result._replace(per_sample=replace(result.per_sample, x_adv=None))
    return result
