"""The cascades of one evaluation: proofs, then attacks, for each kind of attacker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from tempering.app.demand import GRAY, Demand, named, out_of_time, stage_result, unused
from tempering.app.result_cache import Keeping
from tempering.core.errors import NoGradientError, UsageError
from tempering.core.progress import silence
from tempering.core.records import Access, AnyRecord, Count, Flag, StageResult
from tempering.evaluation.cascade import Cascade, Cascaded, Stage
from tempering.evaluation.certificates import CertifiedSamples, certify_samples
from tempering.evaluation.complete_verification import (
    Counterexamples,
    verify_remaining,
    worth_verifying,
)
from tempering.evaluation.context import EvalContext
from tempering.evaluation.deadline import Deadline
from tempering.evaluation.flags.catalogue import masked
from tempering.evaluation.flags.certificates import check_certificates
from tempering.evaluation.flags.determinism import RANDOM
from tempering.evaluation.measuring import measure
from tempering.evaluation.protocols import SURVEYED, around_masks, attacks_of
from tempering.evaluation.results import AttackResult
from tempering.evaluation.target import Target

DOUBTED = 48
"""Proven samples that are attacked all the same."""


class Cascading:
    """Cascades under way.

    Attributes:
        verdicts: What became of each sample, by access.
        proofs: What was proven; None before that was tried.
        stages: Stage -> what stood after it, and what it took, in order.
        records: Flags of the cascades themselves.
    """

    def __init__(
        self,
        context: EvalContext,
        target: Target,
        demand: Demand,
        keeping: Keeping,
        flags: Sequence[Flag],
        surrogate: Callable[[], nn.Module],
    ) -> None:
        """Begin.

        Args:
            context: Data, engine and seed.
            target: The model that judges.
            demand: What is asked for.
            keeping: Keeps what was measured, for a run that is cut.
            flags: What examinations have raised.
            surrogate: Gives the gray-box attacker's model; called if one is needed.
        """
        self.context, self.target, self.demand, self.keeping = context, target, demand, keeping
        self.flags, self.surrogate = flags, surrogate
        self.verdicts: dict[str, Cascaded] = {}
        self.proofs: CertifiedSamples | None = None
        self.stages: dict[str, StageResult] = {}
        self.records: list[AnyRecord] = []

    def run(self, plan: Mapping[Access, Sequence[Stage]]) -> list[AttackResult]:
        """Look at the clean samples, prove what can be proven, and attack the rest.

        Args:
            plan: The stages of each kind of attacker.

        Returns:
            The target without attack, and every stage.

        Raises:
            UsageError: If the time does not suffice to look at every sample once.
            CertificateError: If an attack broke a sample that has a proof.
        """
        deadline = Deadline.never()
        if self.demand.seconds is not None:
            deadline = Deadline.after(self.demand.seconds)
        (clean,) = self.keeping.results("clean", lambda: [self._look(deadline)])
        rows = clean.per_sample.robust.nonzero()[:, 0]
        proofs = self.proofs = self.keeping.proofs(
            "proofs", lambda: certify_samples(self.context, self.target, self.demand.threat, rows)
        )
        self._doubt(proofs)
        results = [clean]
        for access, stages in plan.items():
            sources = {GRAY: self.surrogate()} if access == GRAY else {}
            cascade = Cascade(
                self.context,
                self.target,
                self.demand.threat,
                clean,
                access=access,
                certified=self.proofs.certified,
                sources=sources,
                keep=self.keeping.results,
                deadline=deadline,
            )
            results += self._through(cascade, stages)
        return results

    def _through(self, cascade: Cascade, stages: Sequence[Stage]) -> Sequence[AttackResult]:
        """One kind of attacker, to the end."""
        batch_dependent = self.demand.protocol != "autoattack" and cascade.access == "white"
        cascade.run(cascade.survey(stages, SURVEYED) if batch_dependent else stages)
        if cascade.access == "white":
            self._around_masks(cascade)
            self._require_attacks(cascade)
            self._close(cascade)
        found = self.verdicts[cascade.access] = cascade.result()
        for result in found.stages:
            name = unused(named(result), self.stages)
            self.stages[name] = stage_result(result.measurement.robust.hits, result)
        self.records += [out_of_time(found)] if found.unfinished else []
        return found.stages

    def _look(self, deadline: Deadline) -> AttackResult:
        """The target without attack, and whether there is time for that."""
        first = torch.arange(min(self.context.batch_size, self.context.n))
        began = time.perf_counter()
        with silence():
            measure(self.context, self.target, None, self.demand.threat, rows=first)
        needed = (time.perf_counter() - began) * self.context.n / len(first)
        if not self.context.engine.broadcast(needed < deadline.left):
            raise UsageError(
                f"{self.demand.seconds:g} seconds for {self.context.n} samples, which take about "
                f"{needed:.1f} s without any attack: give more time or fewer samples"
            )
        return measure(self.context, self.target, None, self.demand.threat)

    def _close(self, cascade: Cascade) -> None:
        """Prove or refute the rest, where most has a proof; not against the clock."""
        proofs, standing = self.proofs, cascade.standing & ~cascade.certified
        rows = standing.nonzero()[:, 0]
        right = int(cascade.clean.per_sample.robust.sum())
        if proofs is None or self.demand.seconds is not None:
            return
        if not worth_verifying(proofs, right, len(rows)):
            return
        closed = self.proofs = self.keeping.proofs(
            "dear-proofs",
            lambda: verify_remaining(self.context, self.target, self.demand.threat, proofs, rows),
        )
        cascade.certified = closed.certified
        if len(closed.refuted):
            cascade.run([Stage(Counterexamples.of(self.context, closed))], closed.refuted)

    def _doubt(self, proofs: CertifiedSamples) -> None:
        """Attack some proven samples all the same: where that succeeds, something is wrong.

        Raises:
            CertificateError: Naming the samples.
        """
        rows = proofs.certified.nonzero()[:DOUBTED, 0]
        attack = next(iter(attacks_of("fast", self.demand.threat)[1:]), None)
        if not len(rows) or attack is None:
            return
        threat = self.demand.threat
        (result,) = self.keeping.results(
            "doubt", lambda: [measure(self.context, self.target, attack, threat, rows=rows)]
        )
        broken = torch.zeros_like(proofs.certified)
        broken[rows] = ~result.per_sample.robust[rows]
        with self.context.naming():
            check_certificates(proofs.certified, broken, attack.label(), self.context.keys)

    def _require_attacks(self, cascade: Cascade) -> None:
        """Refuse to call samples robust on which no attack could be made.

        Raises:
            NoGradientError: If none found a gradient, and none that needs none knows the threat.
        """
        if cascade.helpless and not cascade.results and len(cascade.undecided()):
            raise NoGradientError(
                f"no attack could be made on the model under {self.demand.threat}: "
                f"{next(iter(cascade.helpless.values()))}; or give a threat in linf, l2 or l1, "
                "where attacks without gradients exist"
            )

    def _around_masks(self, cascade: Cascade) -> None:
        """Where gradients mislead, attack through what hides them, and without them."""
        standing = int(cascade.standing.sum())
        if not (masked(self.flags) or cascade.helpless):
            return
        names = {flag.name for flag in self.flags}
        stages = [
            Stage(attack, hopeful=True)
            for attack in around_masks(self.demand.threat, random=RANDOM.name in names)
        ]
        cascade.run(stages)
        n = self.context.n
        self.records.append(
            Flag(
                name="masked gradients",
                meaning="gradients mislead attacks on this model, so it was attacked through what "
                "hides them, and without them, as well",
                remedy="quote the lower figure; give stages that hide gradients an adaptive "
                "backward, and treat defences that only hide gradients as none",
                evidence=f"{Count(hits=standing, n=n)} stand under attacks that follow gradients, "
                f"{Count(hits=int(cascade.standing.sum()), n=n)} under the others too",
            )
        )
