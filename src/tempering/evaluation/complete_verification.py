"""Complete verification: what remains undecided is certified or refuted by branch and bound."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.core.probe import Probe
from tempering.core.progress import silence, track
from tempering.core.threats import Threat
from tempering.evaluation.certificates import CertifiedSamples, certify_rows, counts_by_method
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target

METHODS = ("alpha-crown", "branching")
"""Too expensive to be tried on every sample."""
MOST = 64
"""Samples that remain undecided, at most, for these methods to be tried."""


def worth_verifying(certificates: CertifiedSamples, right: int, left: int) -> bool:
    """Whether complete verification is likely to help: most samples are certified, few remain.

    Args:
        certificates: By the cheap methods.
        right: Number of samples that are right without attack.
        left: Number of samples that are robust so far, without a certificate.
    """
    return 0 < left <= MOST and 2 * int(certificates.certified.sum()) >= right


def verify_remaining(
    context: EvalContext,
    target: Target,
    threat: Threat,
    certificates: CertifiedSamples,
    rows: Tensor,
) -> CertifiedSamples:
    """Certify or refute samples that no attack has broken.

    Args:
        context: Data and engine.
        target: The model.
        threat: What may change.
        certificates: By the cheap methods.
        rows: Samples that are robust so far without a certificate, shape (m,), int64.

    Returns:
        The certificates with those that were added, and the counterexamples that branch and
        bound met; equal in every process.
    """
    engine, began = context.engine, time.perf_counter()
    own = rows[engine.shard(len(rows))]
    with track("complete verification", len(rows)) as advance, silence():
        verdicts, settled = certify_rows(context, target, threat, rows, METHODS)
        advance(len(rows), "")
    images = context.data.images(own).clone()
    for at, image in verdicts.counterexamples.items():
        images[at] = image.cpu().to(images.dtype)
    images = engine.gather(images, len(rows))
    wrong = torch.zeros(len(own), dtype=torch.bool)
    wrong[list(verdicts.counterexamples)] = True
    refuted = engine.gather(wrong, len(rows))
    certified = certificates.certified.clone()
    certified[rows[settled > 0]] = True
    return replace(
        certificates,
        certified=certified,
        settled=certificates.settled | counts_by_method(settled, METHODS),
        seconds=certificates.seconds + time.perf_counter() - began,
        refuted=rows[refuted],
        counterexamples=images[refuted],
    )


@dataclass(frozen=True)
class Counterexamples(Attack):
    """Counterexamples of branch and bound, as an attack: they are judged like all others.

    Attributes:
        keys: Keys of the samples that it has an image for.
        images: One each, shape (k, c, h, w).
    """

    name: ClassVar[str] = "branching"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    source: ClassVar[str] = "Bunel et al., 2020"
    cost: ClassVar[str] = "none: bounds took forward and backward passes of their own"

    keys: tuple[int, ...]
    images: Tensor = field(compare=False, repr=False)

    @classmethod
    def of(cls, context: EvalContext, proofs: CertifiedSamples) -> Counterexamples:
        """The counterexamples that a search for proofs has met."""
        return cls(tuple(context.keys[proofs.refuted].tolist()), proofs.counterexamples)

    def propose(self, _probe: Probe, problem: Problem) -> Tensor:
        """The image of each sample that has one; the sample itself otherwise."""
        x_adv = problem.x.clone()
        for row, key in enumerate(problem.streams.index.tolist()):
            if key in self.keys:
                x_adv[row] = self.images[self.keys.index(key)].to(x_adv)
        return x_adv

    def config(self) -> dict[str, Any]:
        """How many images it has."""
        return {"name": self.name, "images": len(self.keys)}
