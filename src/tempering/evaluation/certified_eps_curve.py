"""What is proven against eps, below what no attack has broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor

from tempering.core.errors import CertificateError
from tempering.core.progress import silence, track
from tempering.core.proofs import Proof
from tempering.core.records import Measurement
from tempering.core.threats import Threat
from tempering.evaluation.certificates import CertifiedSamples, certify_samples
from tempering.evaluation.certification_survey import PATIENCE, CertificationBudget
from tempering.evaluation.context import EvalContext
from tempering.evaluation.results import count
from tempering.evaluation.target import Target

NAMED = 20
"""Samples without a verdict that a record names."""


def certified_record(
    context: EvalContext,
    target: Target,
    threat: Threat,
    certificates: CertifiedSamples,
    robust: Tensor,
) -> Proof:
    """Certified accuracy at the threat's own eps.

    Args:
        context: All samples.
        target: The model.
        threat: What may change.
        certificates: Which samples are certified.
        robust: Samples that no attack has broken, shape (n,), bool.
    """
    proof = _record(context, target, threat, certificates, certificates.certified, "cascade")
    open_rows = (robust & ~certificates.certified).nonzero()[:, 0]
    names = list(context.data.ids[open_rows[:NAMED]].names)
    return proof.model_copy(update={"abstained": len(open_rows), "abstained_ids": names})


def certified_curve(
    context: EvalContext,
    target: Target,
    threat: Threat,
    certificates: CertifiedSamples,
    right: Tensor,
    curve: Sequence[Measurement],
    budget: CertificationBudget,
) -> list[Proof]:
    """Certify at each eps of a curve, smallest first, samples that were certified before.

    A certificate at the threat's own eps is one at every smaller eps. Each eps may take an equal
    part of the seconds that are left.

    Args:
        context: All samples; the curve is over the first of them.
        target: The model.
        threat: Its norm is used.
        certificates: Which samples are certified at the threat's own eps.
        right: Samples that are right without attack, shape (n,), bool.
        curve: Accuracy under attack at each eps; without it nothing is certified.
        budget: What certificates may cost along the whole curve.

    Returns:
        One record an eps above 0, smallest first; none if the model has no bounds.

    Raises:
        CertificateError: If more samples are certified at an eps than are robust there.
    """
    if not curve or certificates.unsupported is not None:
        return []
    n = curve[0].n
    part = replace(context, data=context.data.first(n))
    robust = {point.eps: point.robust.hits for point in curve if point.eps > 0}
    known, last = certificates.certified[:n], right[:n]
    records, left = list[Proof](), budget.seconds
    waiting = len(robust.keys() - {threat.eps})
    with track("certified accuracy against eps", len(robust)) as advance:
        for eps in sorted(robust):
            allowed, at_eps = threat.with_eps(eps), certificates
            sofar = known & (eps <= threat.eps)
            if eps != threat.eps:
                with silence():
                    rows = (last & ~sofar).nonzero()[:, 0]
                    limit = min(budget.limit, PATIENCE * left)
                    share = replace(budget, seconds=left / waiting, limit=limit)
                    at_eps = certify_samples(part, target, allowed, rows, share)
                left, waiting = max(left - sum(at_eps.spent.values()), 0.0), waiting - 1
                sofar = sofar | at_eps.certified
            last = sofar
            proven = int(sofar.sum())
            if proven > robust[eps]:
                raise CertificateError(
                    f"{proven} of {n} samples certified at {allowed}, but only {robust[eps]} "
                    "robust there: a certificate or a verdict is wrong, since no attack can break "
                    "a certified sample"
                )
            records.append(_record(part, target, allowed, at_eps, sofar, "curve"))
            advance(len(records), f"{proven} certified at {eps:g}")
    return records


def _record(
    context: EvalContext,
    target: Target,
    threat: Threat,
    certificates: CertifiedSamples,
    certified: Tensor,
    protocol: Literal["cascade", "curve"],
) -> Proof:
    return Proof(
        subject=target.subject,
        protocol=protocol,
        threat=str(threat),
        eps=threat.eps,
        certified=count(certified),
        by_method=certificates.settled if protocol == "cascade" else {},
        unsupported=certificates.unsupported,
        seconds=certificates.seconds,
        seconds_by_method=certificates.spent,
        survey=list(certificates.survey),
        by_class=_by_class(context, certified) if protocol == "curve" else [],
        seed=context.seed,
        weights=target.weights,
        data_hash=context.data.content_hash,
    )


def _by_class(context: EvalContext, certified: Tensor) -> list[int]:
    data = context.data
    return data.y[certified].bincount(minlength=data.num_classes).tolist()
