"""What an evaluation says in one record."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.passes import Passes
from tempering.core.records import AnyRecord, Assessment, Count, PassCounts, Surrogate
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.summary import Roles, summarize


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
        surrogate=next((record for record in records if isinstance(record, Surrogate)), None),
        surrogate_weights=surrogate_weights,
        per_class=result.per_class,
    )


def passes_of_all(context: EvalContext, own: Passes) -> PassCounts:
    """Passes of all processes together."""
    forward, backward = context.engine.reduce_sum(own.forward, own.backward)
    return PassCounts(forward=forward, backward=backward)
