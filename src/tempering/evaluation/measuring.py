"""Measuring a model under one attack."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.backward import true_gradient
from tempering.core.errors import UsageError
from tempering.core.goals import EvadeDetector, Goal, Untargeted
from tempering.core.records import Access
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.proposals import propose
from tempering.evaluation.results import AttackResult, Backward, ProtocolName, record
from tempering.evaluation.sharing import over_samples
from tempering.evaluation.target import Target
from tempering.evaluation.transfer import Attempt, attempts
from tempering.evaluation.verdicts import Chunk, judge, predict
from tempering.evaluation.worst import worst_of


def measure(
    context: EvalContext,
    target: Target,
    attack: Attack | None,
    threat: Threat,
    *,
    protocol: ProtocolName = "standard",
    access: Access = "white",
    source: nn.Module | None = None,
    backward: Backward = "adaptive",
    rows: Tensor | None = None,
) -> AttackResult:
    """Attack a model, judge every sample here, and count.

    Whatever the attack is, the target is run again on what it proposes, and what
    leaves the ball or the box is refused. A white-box attacker leads each sample away
    from its predicted class, which for a sample that counts is the true one; so
    `stable` says of misclassified samples too whether they can be changed.

    If the target has an adversarial class, samples on which the first run ends in the
    true class or in the flag are attacked once more, by an attacker who wants neither,
    and the worse end is kept. Gray-box attackers do so where the model that they own
    flags their first sample. Samples made long ago (`stale`) are not adapted.

    Args:
        context: Data, engine and seed.
        target: The model that judges; it is moved to the engine's device.
        attack: Proposes; None for no attack.
        threat: What may change.
        protocol: For the record.
        access: What the attacker knows. For gray-box access the attack runs to its last
            step on the source, and each of its restarts is tried on the target.
        source: The model that samples are made on; None for the target itself.
        backward: `true` to let adaptive stages show their true gradient, which tells
            what a naive evaluation would claim.
        rows: Samples that still matter, shape (m,), int64; by default all. The others
            are not attacked and count as lost.

    Returns:
        The record, with counts over all samples, and what became of each sample.

    Raises:
        AttackError: If a proposal breaks the rules; names the attack and the sample.
        ModelError: If a model does not answer with finite logits.
        ThreatError: If the attack does not know the threat's norm.
        UsageError: If access and source do not fit together.

    Example:
        >>> import torch
        >>> from tempering.attacks import FGSM
        >>> from tempering.core.engine import start_engine
        >>> from tempering.core.threats import Linf
        >>> from tempering.data.dataset import Dataset
        >>> data = Dataset(torch.rand(8, 1, 2, 2), torch.zeros(8).long(), ("a", "b"), "toy")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> context = EvalContext(data, "test", start_engine("32-true"), seed=0)
        >>> measurement, _ = measure(context, Target.of("given", net, data), FGSM(), Linf(0.1))
        >>> measurement.robust.n
        8
    """
    if access == "any" or (source is None) != (access in ("white", "black")):
        raise UsageError(
            f"access {access!r} with{'out' if source is None else ''} a source model: "
            "give none for white and black, and one for gray-surrogate, gray-before or stale"
        )
    rows = torch.arange(context.n) if rows is None else rows
    for model in (target.model, source):
        if model is not None:
            model.to(context.engine.device)
    attacker = _Attacker(context, target, threat, source, access, backward)
    per_sample, cost = over_samples(
        context,
        target.model,
        f"{target.subject}: {attack.label() if attack else 'clean'}, {access}",
        rows,
        attacker.untouched if attack is None else lambda chunk: attacker.run(attack, chunk),
        together=attack is not None and attack.batch_dependent(),
    )
    return record(
        context,
        target,
        per_sample,
        attack=attack.label() if attack else "clean",
        config=attack.config() if attack else {},
        threat=threat if attack else threat.with_eps(0.0),
        protocol=protocol,
        access=access,
        backward=backward,
        cost=cost,
    )


class _Attacker:
    """Everything about one measurement but the attack."""

    def __init__(
        self,
        context: EvalContext,
        target: Target,
        threat: Threat,
        source: nn.Module | None,
        access: Access,
        backward: Backward,
    ) -> None:
        self.context, self.target, self.threat = context, target, threat
        self.source, self.access, self.backward = source, access, backward

    def untouched(self, chunk: Chunk) -> PerSampleResult:
        """No attack: what became of each sample by itself."""
        return replace(self._judge(chunk, chunk.x), x_adv=None)

    def run(self, attack: Attack, chunk: Chunk) -> PerSampleResult:
        """One attack on a chunk, every attempt of it, and its evasion of the flag."""
        transferred = self.access.startswith("gray")
        tries = attempts(attack) if transferred else [Attempt(attack)]
        return worst_of([self._attempt(attempt, chunk) for attempt in tries])

    def _attempt(self, attempt: Attempt, chunk: Chunk) -> PerSampleResult:
        x_adv = self._propose(attempt, chunk, Untargeted())
        per_sample = self._judge(chunk, x_adv)
        flag = self.target.flag
        if flag is None or self.access == "stale":
            return per_sample
        rows = self._to_evade(chunk, x_adv, per_sample, flag).nonzero()[:, 0]
        if not len(rows):
            return per_sample
        part = chunk.at(rows)
        evaded = self._judge(part, self._propose(attempt, part, EvadeDetector(flag)))
        return per_sample.put(rows, worst_of([per_sample.at(rows), evaded]))

    def _to_evade(
        self, chunk: Chunk, x_adv: Tensor, per_sample: PerSampleResult, flag: int
    ) -> Tensor:
        """Samples on which the attacker has a reason to try again, shape (n,), bool."""
        standing = per_sample.robust if per_sample.detected is None else per_sample.detected
        if self.source is None:
            return standing
        seen = predict(self.source, x_adv, chunk.y, chunk.keys, self.context.batch_size)
        return standing & (seen.predicted == flag)

    def _propose(self, attempt: Attempt, chunk: Chunk, goal: Goal) -> Tensor:
        streams = attempt.streams(self.context.streams(attempt.attack, chunk.keys))
        if isinstance(goal, EvadeDetector):
            streams = streams.derive("evade")
        model, labels = self.source, chunk.y
        if model is None:
            model, labels = self.target.model, chunk.clean.predicted.to(chunk.y.device)
        seen: AbstractContextManager[None] = nullcontext()
        if self.backward == "true":
            seen = true_gradient()
        with seen:
            return propose(
                model,
                attempt.attack,
                chunk.x,
                labels,
                self.threat,
                streams,
                goal,
                self.context.batch_size,
            )

    def _judge(self, chunk: Chunk, x_adv: Tensor) -> PerSampleResult:
        return judge(
            self.target.model, self.target.flag, chunk, x_adv, self.threat, self.context.batch_size
        )
