"""Certificates before attacks: a certified sample needs no attack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.certification.certify_samples import certify
from tempering.certification.verdicts import Certificates
from tempering.core.progress import silence, track
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target

METHODS = ("interval", "crown-ibp")
"""Incomplete methods, cheap enough to be tried on every model."""
_FIRST = 32
"""Samples on which it shows whether certification succeeds at all."""


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
    """

    certified: Tensor
    settled: dict[str, int]
    seconds: float
    unsupported: str | None
    refuted: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    counterexamples: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1, 1))


def certify_samples(
    context: EvalContext, target: Target, threat: Threat, rows: Tensor
) -> CertifiedSamples:
    """Certify samples by incomplete methods; all of them only if that succeeds on a few.

    Args:
        context: Data and engine.
        target: The model.
        threat: What may change.
        rows: Samples that are right without attack, shape (m,), int64.

    Returns:
        Which samples are certified, equal in every process.
    """
    settled_by = torch.zeros(context.n, dtype=torch.int64)
    began = time.perf_counter()
    unsupported: str | None = None
    with track("certification", len(rows)) as advance, silence():
        for part in (rows[:_FIRST], rows[_FIRST:]):
            if not len(part):
                break
            verdicts, settled_by[part] = certify_rows(context, target, threat, part, METHODS)
            proven = int((settled_by > 0).sum())
            advance(len(part), f"{proven} proven")
            unsupported = verdicts.unsupported
            if not proven:
                break
    settled = counts_by_method(settled_by, METHODS)
    return CertifiedSamples(settled_by > 0, settled, time.perf_counter() - began, unsupported)


def certify_rows(
    context: EvalContext, target: Target, threat: Threat, rows: Tensor, methods: Sequence[str]
) -> tuple[Certificates, Tensor]:
    """Certify samples in all processes.

    Returns:
        Certificates of the samples of this process; and of all rows the number of the method
        that certified it, from 1, or 0, shape of rows, int64, equal in every process.
    """
    engine, own = context.engine, rows[context.engine.shard(len(rows))]
    certificates = certify(
        target.certifiable,
        context.data.images(own).to(engine.device),
        context.data.y[own].to(engine.device),
        threat,
        methods=methods,
        batch_size=context.batch_size,
    )
    numbers = {name: number for number, name in enumerate(methods, 1)}
    settled = torch.tensor([numbers.get(name, 0) for name in certificates.settled_by]).long()
    return certificates, engine.gather(settled * certificates.certified.cpu(), len(rows))


def counts_by_method(settled_by: Tensor, methods: Sequence[str]) -> dict[str, int]:
    """Method -> number of samples that it certified."""
    return {name: int((settled_by == number).sum()) for number, name in enumerate(methods, 1)}
