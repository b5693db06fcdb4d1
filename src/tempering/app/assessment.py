"""What an evaluation says in one record."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tempering.core.comparisons import Comparison
from tempering.core.passes import Passes
from tempering.core.records import (
    NO_ATTACKS,
    AnyRecord,
    Assessment,
    BeforeAfter,
    Count,
    PassCounts,
    Surrogate,
)
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.summary import Roles, summarize

LEVELS = ("white", "gray-surrogate", "black")
"""Access levels, as measurements name them."""


def assess(
    records: Sequence[AnyRecord],
    result: EvaluationResult,
    roles: Roles,
    *,
    protocol: str,
    access: str,
    passes: PassCounts,
    seconds: float,
    surrogate_weights: str | None = None,
    comparisons: Sequence[Comparison] = (),
    quick: Sequence[str] = (),
    not_measured: Sequence[str] = (),
) -> Assessment:
    """Summarise a run with what became of the model that it is about.

    Args:
        records: All records of the run.
        result: The evaluation of that model.
        roles: Which model the run is about, and which others it is compared with.
        protocol: Name of the protocol.
        access: What attackers knew.
        passes: Of the evaluation, in all processes.
        seconds: Wall time of the whole run.
        surrogate_weights: Hash of the gray-box attacker's model, where there was one.
        comparisons: The model after hardening with the one before, clean and robust.
        quick: Settings that stand for a quick look.
        not_measured: What was left out, in words.
    """
    certified, robust = result.certified, result.get("worst", "any").measurement.robust
    count = Count(hits=int(certified.sum()), n=len(certified))
    summary = summarize(records, roles, seconds=seconds, certified=count)
    return Assessment(
        **summary.model_dump(),
        protocol=protocol,
        access=access,
        clean_correct=result.get("clean").measurement.robust.hits,
        robust_correct=robust.hits,
        certified_correct=count.hits,
        interval=robust.interval,
        passes=passes,
        by_attack=dict(result.stages),
        schedule=list(result.schedule),
        certification=_certification(result),
        surrogate=next((record for record in records if isinstance(record, Surrogate)), None),
        surrogate_weights=surrogate_weights,
        by_access=_by_access(result, _several(access)),
        hardening=before_and_after(comparisons),
        quick=list(quick),
        not_measured=list(not_measured),
        per_class=result.per_class,
    )


def before_and_after(comparisons: Sequence[Comparison]) -> BeforeAfter | None:
    """Counts before and after hardening; None without a comparison."""
    paired = {one.quantity: one.paired for one in comparisons}
    if not {"clean", "robust"} <= paired.keys():
        return None
    clean, robust = paired["clean"], paired["robust"]
    return BeforeAfter(
        clean_before=Count(hits=clean.both + clean.second, n=clean.n),
        clean_after=Count(hits=clean.both + clean.first, n=clean.n),
        robust_before=Count(hits=robust.both + robust.second, n=robust.n),
        robust_after=Count(hits=robust.both + robust.first, n=robust.n),
    )


def _certification(result: EvaluationResult) -> list[str]:
    """How methods were chosen, or why nothing was certified."""
    certificates = result.certificates
    if certificates is None:
        return []
    if certificates.unsupported is not None:
        return [f"no certificates: {certificates.unsupported}"]
    return list(certificates.survey)


def _several(access: str) -> tuple[str, ...]:
    """The access levels of an evaluation with several; none of any other."""
    if access == "all":
        return LEVELS
    return ("white", "black") if ", black" in access else ()


def _by_access(result: EvaluationResult, levels: Sequence[str]) -> dict[str, Count]:
    """Samples that are robust to all attacks of one access level, each level by itself.

    Where no attack is needed, since all correct samples are certified, these are they.
    """
    counts: dict[str, Count] = {}
    proven = torch.equal(result.certified, result.clean)
    for access in levels:
        robust, tried = result.clean, proven
        for measurement, per_sample in result.results:
            if measurement.access == access and measurement.attack not in NO_ATTACKS:
                robust, tried = robust & per_sample.robust, True
        if tried:
            name = access.partition("-")[0]
            counts[name] = Count(hits=int(robust.sum()), n=len(robust))
    return counts


def passes_of_all(context: EvalContext, own: Passes) -> PassCounts:
    """Passes of all processes together."""
    forward, backward = context.engine.reduce_sum(own.forward, own.backward)
    return PassCounts(forward=forward, backward=backward)
