"""The life of a sample: examined, predicted, certified, attacked, verified, counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from tempering.core.backward import random_stages
from tempering.core.deadline import Deadline
from tempering.core.errors import ThreatError
from tempering.core.passes import gradients_replaced
from tempering.core.proofs import Proof
from tempering.core.records import Flag, Measurement
from tempering.evaluation.attack_plan import run_attacks
from tempering.evaluation.certificate_prices import certification_budget, curve_budget
from tempering.evaluation.certificates import CertifiedSamples, certify_samples
from tempering.evaluation.certified_eps_curve import certified_curve, certified_record
from tempering.evaluation.clean_predictions import predict_in_time
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.curve_verdicts import with_curve_verdicts
from tempering.evaluation.eps_curve import curve_of, shown_part
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.examine_target import examine_target
from tempering.evaluation.flags.catalogue import NOT_EXAMINED
from tempering.evaluation.flags.model_outputs import RANDOM
from tempering.evaluation.inspection import inspect
from tempering.evaluation.measuring import clean_result
from tempering.evaluation.per_class import per_class
from tempering.evaluation.result_cache import NoCache, ResultCache
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.spot_checks import spot_check
from tempering.evaluation.target import RandomDraws, Target


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates models by one configuration.

    Attributes:
        context: Data, engine and seed.
        config: What is asked for.
        cache: Stores results of steps, for an evaluation that is interrupted.

    Example:
        `Evaluator(context, EvaluationConfig(threat, fast(threat))).evaluate(target).robust`
    """

    context: EvalContext
    config: EvaluationConfig
    cache: ResultCache = field(default_factory=NoCache)

    def evaluate(self, target: Target) -> EvaluationResult:
        """Evaluate a model.

        Args:
            target: The model; it is moved to the engine's device.

        Returns:
            What became of each sample, and all records.

        Raises:
            UsageError: If the time does not suffice to look at every sample once.
            CertificateError: If an attack broke a certified sample.
            NoGradientError: If no attack could run on the model.
            ModelError: If the model does not answer with finite logits.
        """
        self.config.require_sources()
        with gradients_replaced():
            config, cache, deadline = self.config, self.cache, _deadline(self.config.seconds)
            examination = examine_target(self.context, target, config, cache)
            if random_stages(target.model) or RANDOM.name in {flag.name for flag in examination}:
                target = replace(target, draws=RandomDraws(self.context.seed))
            predictions = cache.get(
                "clean", partial(predict_in_time, self.context, target, config.seconds, deadline)
            )
            clean = clean_result(self.context, target, config.threat, clean=predictions)
            run = EvaluationRun(self.context, target, config, cache, deadline, predictions, clean)
            certificates = self._certify(run)
            attacked = run_attacks(run, certificates, examination)
            result = EvaluationResult(
                target=target,
                threat=config.threat,
                results=attacked.results,
                certificates=attacked.certificates,
                broken_by=attacked.broken_by,
                stages=attacked.stages,
                schedule=attacked.schedule,
            )
            return self._with_curve_and_flags(run, result, [*examination, *attacked.flags])

    def _certify(self, run: EvaluationRun) -> CertifiedSamples | None:
        """Certify samples where it is worth it, and attack a few of them nevertheless."""
        if not self.config.certify:
            return None
        certificates = self.cache.get("certificates", partial(_certificates, run))
        spot_check(run, certificates.certified)
        return certificates

    def _with_curve_and_flags(
        self, run: EvaluationRun, result: EvaluationResult, flags: list[Flag]
    ) -> EvaluationResult:
        """Accuracy against eps and by class, what is certified, and flags of all measurements."""
        try:
            results = self.cache.get("curve", partial(curve_of, run, result))
        except ThreatError as error:
            results = []
            flags.append(NOT_EXAMINED.raised(f"accuracy against eps: {error}"))
        result = with_curve_verdicts(run, result, results)
        sweep = [at_eps.measurement for at_eps in results]
        shown = shown_part(results, run.threat, run.config.curve)
        curve = tuple(at_eps.measurement for at_eps in shown)
        result = replace(
            result, curve=curve, certified_curve=self._certified_curve(run, result, curve)
        )
        flags += inspect(self.context, result, sweep=sweep)
        classes = per_class(result, self.context.data, self.context.seed, shown)
        return replace(result, flags=tuple(flags), per_class=classes)

    def _certified_curve(
        self, run: EvaluationRun, result: EvaluationResult, curve: tuple[Measurement, ...]
    ) -> tuple[Proof, ...]:
        """What is certified at the threat's eps, and along the curve."""
        if result.certificates is None:
            return ()
        at = (run.context, run.target, run.threat, result.certificates)
        along = self.cache.get("certified-curve", partial(_along_curve, run, result, curve))
        return (certified_record(*at, result.robust), *along)


def _certificates(run: EvaluationRun) -> CertifiedSamples:
    rows = run.clean.per_sample.robust.nonzero()[:, 0]
    return certify_samples(run.context, run.target, run.threat, rows, certification_budget(run))


def _along_curve(
    run: EvaluationRun, result: EvaluationResult, curve: tuple[Measurement, ...]
) -> list[Proof]:
    """Certificates along the curve, which save no attack."""
    if result.certificates is None or not curve:
        return []
    at = (run.context, run.target, run.threat, result.certificates)
    budget = curve_budget(run, sum(result.certificates.spent.values()))
    return certified_curve(*at, result.clean, curve, budget)


def _deadline(seconds: float | None) -> Deadline:
    return Deadline.never() if seconds is None else Deadline.after(seconds)
