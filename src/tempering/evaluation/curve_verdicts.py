"""What the curve finds at the threat's eps counts in the evaluation as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from tempering.core.records import Cost, PassCounts, StageResult
from tempering.evaluation.attack_plan import worst_cases
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.flags.impossible_results import check_certificates
from tempering.evaluation.results import AttackResult, record
from tempering.evaluation.run import EvaluationRun

CURVE = " (curve)"
"""What the name of the stage ends with."""


def with_curve_verdicts(
    run: EvaluationRun, result: EvaluationResult, curve: Sequence[AttackResult]
) -> EvaluationResult:
    """Count samples as broken that the curve broke within the threat's eps.

    A minimum-norm attack may find what the stages did not. Of a model with an adversarial
    class the curve says something else, and nothing changes.

    Args:
        run: Data, target and configuration.
        result: What the stages found.
        curve: Results at several eps, on the first samples.

    Returns:
        The evaluation with a stage more, if the curve broke anything more.

    Raises:
        CertificateError: If that is a certified sample.
    """
    at_eps = next((one for one in curve if one.measurement.eps == run.threat.eps), None)
    if at_eps is None or run.target.flag is not None:
        return result
    rows = torch.arange(at_eps.measurement.n)
    broken = torch.zeros_like(result.robust)
    broken[rows] = ~at_eps.per_sample.robust
    broken &= result.robust
    if not bool(broken.any()):
        return result
    label = f"{at_eps.measurement.attack}{CURVE}"
    with run.context.naming():
        check_certificates(result.certified, broken, label, run.context.keys)
    found = broken.nonzero()[:, 0]
    stage = record(
        run.context,
        run.target,
        run.unattacked().put(found, at_eps.per_sample.at(found)),
        attack=label,
        config=at_eps.measurement.config,
        threat=run.threat,
        protocol="cascade",
        access="white",
        cost=Cost(),
    )
    survivors = int(result.robust.sum()) - len(found)
    none = PassCounts(forward=0, backward=0)  # counted with the curve
    results = [*result.results[:-2], stage]
    names = zip(result.broken_by, broken.tolist(), strict=True)
    return replace(
        result,
        results=(*results, *worst_cases(run, results[1:])),
        broken_by=tuple(label if new else name for name, new in names),
        stages={
            **result.stages,
            label: StageResult(survivors=survivors, passes=none, seconds=0),
        },
    )
