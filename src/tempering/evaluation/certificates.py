"""Certificates before attacks: a certified sample needs no attack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.core.progress import silence, track
from tempering.core.threats import Threat
from tempering.evaluation.certification_survey import (
    DEAR,
    METHODS,
    TELLING,
    CertificationBudget,
    Survey,
    certify_rows,
    survey_methods,
)
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target

OUT_OF_TIME = "no time was left"
"""Why nothing was tried."""

SAVED_SHARE = 0.25
"""Share of the seconds that certificates have saved that may be spent on what attacks leave."""


@dataclass(frozen=True, eq=False)
class CertifiedSamples:
    """Which samples were certified, and how.

    Attributes:
        certified: Samples that keep their class whatever the threat allows, shape (n,), bool.
        settled: Method -> number of samples that it certified.
        seconds: Wall time.
        unsupported: The part of the model for which there are no bounds; None if there is none.
        refuted: Samples for which complete verification met a counterexample, shape (k,), int64.
        counterexamples: Their images, shape (k, c, h, w).
        spent: Method -> seconds that it took.
        survey: What each method did on a few samples, and what was decided.
        given: Methods that were given all samples.
        useless: Methods that certified none of the samples of the survey.
        budget: Seconds that may be spent after the attacks.
    """

    certified: Tensor
    settled: dict[str, int]
    seconds: float
    unsupported: str | None
    refuted: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    counterexamples: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1, 1))
    spent: dict[str, float] = field(default_factory=dict)
    survey: Sequence[str] = ()
    given: Sequence[str] = ()
    useless: Sequence[str] = ()
    budget: float = 0.0


def certify_samples(
    context: EvalContext,
    target: Target,
    threat: Threat,
    rows: Tensor,
    budget: CertificationBudget,
) -> CertifiedSamples:
    """Certify samples by the methods that are worth it, which a survey of a few samples tells.

    Args:
        context: Data and engine.
        target: The model.
        threat: What may change.
        rows: Samples that are right without attack, shape (m,), int64.
        budget: What it may cost.

    Returns:
        Which samples are certified, equal in every process.
    """
    settled_by, began = torch.zeros(context.n, dtype=torch.int64), time.perf_counter()
    with track("certification", len(rows)) as advance, silence():
        survey = survey_methods(context, target, threat, rows, budget)
        settled_by[survey.rows] = survey.settled
        advance(len(survey.rows), f"{int((settled_by > 0).sum())} proven")
        left = budget.seconds - survey.seconds
        chosen, words, left = _choose(survey, len(rows) - len(survey.rows), budget, left)
        spent = {trial.method: trial.seconds for trial in survey.trials.values()}
        waiting = _waiting(survey, rows, chosen)
        if chosen and len(waiting):
            used, limit = time.perf_counter() - began, budget.cap
            verdicts, settled = certify_rows(
                context, target, threat, waiting, chosen, limit and max(limit - used, 1e-9)
            )
            numbers = torch.tensor([0, *(METHODS.index(name) + 1 for name in chosen)])
            settled_by[waiting] = numbers[settled]
            costs = context.engine.broadcast(verdicts.spent)
            spent |= {cost.method: spent.get(cost.method, 0.0) + cost.seconds for cost in costs}
        advance(len(rows), f"{int((settled_by > 0).sum())} proven")
    unsupported = survey.unsupported
    if len(rows) and not survey.complete:
        unsupported = OUT_OF_TIME
    return CertifiedSamples(
        certified=settled_by > 0,
        settled=counts_by_method(settled_by, METHODS),
        seconds=time.perf_counter() - began,
        unsupported=unsupported,
        spent=spent,
        survey=words,
        given=chosen,
        useless=[
            trial.method
            for trial in survey.trials.values()
            if trial.samples >= TELLING and not trial.certified
        ],
        budget=max(left, 0.0) + SAVED_SHARE * budget.saved * int((settled_by > 0).sum()),
    )


def counts_by_method(settled_by: Tensor, methods: Sequence[str]) -> dict[str, int]:
    """Method -> number of samples that it certified."""
    return {name: int((settled_by == number).sum()) for number, name in enumerate(methods, 1)}


def _choose(
    survey: Survey, samples: int, budget: CertificationBudget, left: float
) -> tuple[list[str], list[str], float]:
    """Methods that are given all samples, what is said of each, and the seconds then left."""
    chosen, words = list[str](), list[str]()
    if survey.unsupported is not None:
        return chosen, words, 0.0
    used, later = ("used before attacks", "used after attacks")
    if not budget.attacks:
        used, later = ("used", "too dear for all samples")
    for trial in survey.trials.values():
        worth = trial.worth(samples, budget, left)
        if worth:
            chosen.append(trial.method)
            left -= trial.a_sample * samples
            samples = round(samples * (1 - trial.certified / trial.samples))
        words.append(f"{trial}: {(used if worth else later) if trial.certified else 'not used'}")
    words += [f"{method}: not tried, no seconds were left" for method in survey.untried]
    if chosen and chosen[-1] in DEAR[1:] and DEAR[0] not in chosen:
        chosen.insert(-1, DEAR[0])
    return chosen, words, left


def _waiting(survey: Survey, rows: Tensor, chosen: Sequence[str]) -> Tensor:
    """Samples that the chosen methods have not been given yet, shape (k,), int64."""
    done = survey.rows
    if not survey.complete.issuperset(chosen):
        done = survey.rows[survey.settled > 0]
    return rows[~torch.isin(rows, done)]
