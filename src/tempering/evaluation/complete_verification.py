"""Complete verification: what remains undecided is certified or refuted by branch and bound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.certification.verdicts import Certificates
from tempering.core.deadline import Deadline
from tempering.core.probe import Probe
from tempering.core.progress import Advance, silence, track
from tempering.core.threats import Threat
from tempering.core.work_clock import work_seconds
from tempering.evaluation.certificates import CertifiedSamples, counts_by_method
from tempering.evaluation.certification_survey import certify_rows, patient, prices
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target

METHODS = ("crown", "alpha-crown", "branching")
"""In ascending order of cost; each sharpens the bounds of the one before."""
GROWTH = 4
"""Each part has so many times the samples of the one before, if the time suffices."""
HOPELESS = 8
"""Samples without any verdict after which a method is given no more; a single one if nothing at
all has been certified."""


@dataclass(eq=False)
class _Remaining:
    """Samples on their way through methods of ascending cost.

    Attributes:
        rows: The samples, shape (m,), int64.
        budget: Seconds of work that methods may take.
        promising: Whether anything has been certified.
    """

    context: EvalContext
    target: Target
    threat: Threat
    rows: Tensor
    budget: float
    deadline: Deadline
    spent: dict[str, float]
    promising: bool
    images: list[Tensor] = field(default_factory=list)
    order: list[Tensor] = field(default_factory=list)
    tried: int = 0

    def __post_init__(self) -> None:
        self.settled = torch.zeros(len(self.rows), dtype=torch.int64)
        self.refuted = torch.zeros(len(self.rows), dtype=torch.bool)

    def give(self, methods: Sequence[str], advance: Advance) -> None:
        """Give methods the open samples, part after part, as far as the time suffices."""
        engine = self.context.engine
        waiting = ((self.settled == 0) & ~self.refuted).nonzero()[:, 0]
        before, at, size, decided = self.budget, 0, 1, 0
        while at < len(waiting):
            left = min(self.budget, engine.broadcast(self.deadline.left))
            a_sample = (before - self.budget) / max(at, 1)
            most = int(left / max(a_sample, 1e-9)) if at else len(waiting)
            part = waiting[at : at + min(size, most)]
            if left <= 0 or not len(part):
                break
            decided += self._decide(part, methods, left)
            at, size = at + len(part), size * GROWTH
            advance(int((self.settled > 0).sum()), f"{methods[-1]}: {at} of {len(waiting)} tried")
            if at >= (HOPELESS if self.promising else 1) and not decided:
                break
        self.tried = max(self.tried, at)

    def _decide(self, part: Tensor, methods: Sequence[str], seconds: float) -> int:
        """How many samples at some positions are certified or refuted now."""
        rows, engine = self.rows[part], self.context.engine
        began = work_seconds(engine.device)
        verdicts, settled = certify_rows(
            self.context, self.target, self.threat, rows, methods, patient(seconds)
        )
        priced = prices(verdicts.spent, work_seconds(engine.device) - began)
        self.budget -= engine.broadcast(sum(priced.values()))
        numbers = torch.tensor([0, *(METHODS.index(name) + 1 for name in methods)])
        self.settled[part] = numbers[settled]
        wrong, pictures = _counterexamples(self.context, rows, verdicts)
        self.refuted[part] = wrong
        self.images.append(pictures)
        self.order.append(rows[wrong])
        for cost in engine.broadcast(verdicts.spent):
            self.spent[cost.method] = self.spent.get(cost.method, 0.0) + cost.seconds
        return int((settled > 0).sum()) + int(wrong.sum())


def verify_remaining(
    context: EvalContext,
    target: Target,
    threat: Threat,
    certificates: CertifiedSamples,
    rows: Tensor,
    deadline: Deadline,
) -> CertifiedSamples:
    """Certify or refute samples that no attack has broken, as far as the time suffices.

    Each method begins with one sample, and goes on with larger and larger parts.

    Args:
        context: Data and engine.
        target: The model.
        threat: What may change.
        certificates: Those before the attacks; they say what may be spent.
        rows: Samples that are robust so far without a certificate, shape (m,), int64.
        deadline: After which nothing new is begun either.

    Returns:
        The certificates with those that were added, and the counterexamples that branch and
        bound met; equal in every process.
    """
    began = time.perf_counter()
    budget, spent = certificates.budget, dict(certificates.spent)
    promising = bool(certificates.certified.any())
    remaining = _Remaining(context, target, threat, rows, budget, deadline, spent, promising)
    left_out = {*certificates.given, *certificates.useless}
    with track("complete verification", len(rows)) as advance, silence():
        for number, method in enumerate(METHODS, 1):
            if method not in left_out:
                remaining.give(METHODS[:number], advance)
    certified = certificates.certified.clone()
    certified[rows[remaining.settled > 0]] = True
    proven = counts_by_method(remaining.settled, METHODS)
    both = dict.fromkeys([*certificates.settled, *proven])
    images = torch.cat(remaining.images) if remaining.images else certificates.counterexamples
    refuted = torch.cat(remaining.order) if remaining.order else certificates.refuted
    return replace(
        certificates,
        certified=certified,
        settled={name: certificates.settled.get(name, 0) + proven.get(name, 0) for name in both},
        seconds=certificates.seconds + time.perf_counter() - began,
        refuted=refuted,
        counterexamples=images,
        spent=remaining.spent,
        survey=[*certificates.survey, _told(remaining)],
    )


def _told(remaining: _Remaining) -> str:
    proven, refuted = int((remaining.settled > 0).sum()), int(remaining.refuted.sum())
    return (
        f"after attacks: {proven} certified, {refuted} refuted, of {len(remaining.rows)} left; "
        f"{remaining.tried} tried"
    )


def _counterexamples(
    context: EvalContext, rows: Tensor, verdicts: Certificates
) -> tuple[Tensor, Tensor]:
    """Which samples were refuted, shape of rows, bool, and their images."""
    engine = context.engine
    own = rows[engine.shard(len(rows))]
    images = context.data.images(own).clone()
    for at, image in verdicts.counterexamples.items():
        images[at] = image.cpu().to(images.dtype)
    wrong = torch.zeros(len(own), dtype=torch.bool)
    wrong[list(verdicts.counterexamples)] = True
    refuted = engine.gather(wrong, len(rows))
    return refuted, engine.gather(images, len(rows))[refuted]


@dataclass(frozen=True)
class Counterexamples(Attack):
    """Counterexamples of branch and bound, as an attack: they are judged like all others.

    Attributes:
        keys: Keys of the samples that it has an image for.
        images: One each, shape (k, c, h, w).
    """

    name: ClassVar[str] = "branching"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")
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
