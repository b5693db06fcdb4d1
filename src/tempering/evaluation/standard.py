"""The standard protocol: one model, one threat, every attack on every sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from tempering.attacks.base import Attack
from tempering.core.backward import adaptive_stages
from tempering.core.errors import UsageError
from tempering.core.records import Access, Measurement
from tempering.core.threats import Threat
from tempering.evaluation.availability_attack import NAME as AVAILABILITY
from tempering.evaluation.availability_attack import availability
from tempering.evaluation.cascade import Keep, straight
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.results import AttackResult, Backward
from tempering.evaluation.target import Target
from tempering.evaluation.worst import worst_case

NO_ATTACKS = ("clean", "worst", AVAILABILITY)
"""Names in records that are no attack of the protocol."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one model went through.

    Attributes:
        target: The model.
        threat: What was allowed.
        results: Everything that was measured, in order; the last two are the worst cases.
    """

    target: Target
    threat: Threat
    results: tuple[AttackResult, ...]

    @property
    def measurements(self) -> list[Measurement]:
        """The records, in order."""
        return [result.measurement for result in self.results]

    def find(
        self, attack: str, access: Access = "white", backward: Backward = "adaptive"
    ) -> AttackResult | None:
        """One trial, or None if there was none such."""
        wanted = (attack, access, backward)
        return next(
            (one for one in self.results if _key(one.measurement) == wanted),
            None,
        )

    def get(self, attack: str, access: Access = "white") -> AttackResult:
        """One trial that must be there.

        Raises:
            UsageError: If it is not.
        """
        found = self.find(attack, access)
        if found is None:
            known = ", ".join(f"{one.attack} ({one.access})" for one in self.measurements)
            raise UsageError(f"nothing was measured for {attack} ({access}): there is {known}")
        return found

    def attacks(self, access: Access, backward: Backward = "adaptive") -> list[AttackResult]:
        """The trials of attacks, without clean, worst and forced flags."""
        return [
            one
            for one in self.results
            if one.measurement.attack not in NO_ATTACKS
            and one.measurement.access == access
            and one.measurement.backward == backward
        ]


def _key(measurement: Measurement) -> tuple[str, str, str]:
    return measurement.attack, measurement.access, measurement.backward


def run_standard(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attacks: Sequence[Attack],
    *,
    transferred: Sequence[Attack] | None = None,
    surrogate: nn.Module | None = None,
    before: nn.Module | None = None,
    keep: Keep = straight,
) -> Evaluation:
    """Measure a model by the standard protocol.

    Every attack runs on all samples, so that each has an accuracy of its own, weakest
    first. One of them, PGD if it is among them, runs once more with the true gradient
    where the model has adaptive stages, and once with the flag as its goal where the
    model has an adversarial class.

    Args:
        context: Data, engine and seed.
        target: The model that judges.
        threat: What may change.
        attacks: White-box attacks, at least one; give them `until_fooled`.
        transferred: Attacks for gray-box and stale samples; by default the same ones.
        surrogate: A model of another seed, for gray-box attacks.
        before: The model before hardening, for gray-box attacks made now and at full
            strength, and for stale samples, which stop where they fool it.
        keep: Keeps what was measured, one attack at a time.

    Returns:
        All trials: clean, white-box attacks, true gradient, availability, gray-box
        attacks and stale samples; at the end the worst case over white-box access and
        over everything; a forced flag is a lost sample in both. Images are kept for
        white-box access only.

    Raises:
        UsageError: If there is no attack.
        AttackError: If a proposal breaks the rules.

    Example:
        `run_standard(context, target, Linf(0.3), [FGSM(), PGD(steps=40)]).get("worst")`
    """
    if not attacks:
        raise UsageError("no attack to evaluate with: give at least one, such as pgd:steps=40")
    measured = partial(_kept, keep, context, target, threat)
    results = measured("clean", None)
    white: list[AttackResult] = []
    for number, attack in enumerate(_weakest_first(attacks)):
        white += measured(f"white-{number:02d}", attack)
    main = _main(attacks)
    if adaptive_stages(target.model):
        white += measured("true-gradient", main, backward="true")
    if target.flag is not None:
        white += keep("availability", lambda: [availability(context, target, threat, main)])
    results += white
    tried = [_without_images(result) for result in white]
    others: list[tuple[Access, nn.Module | None]] = [
        ("gray-surrogate", surrogate),
        ("gray-before", before),
        ("stale", before),
    ]
    for access, source in others:
        if source is None:
            continue
        given = attacks if transferred is None else transferred
        for number, attack in enumerate(_weakest_first(given)):
            name = f"{access}-{number:02d}"
            (result,) = measured(name, attack, access=access, source=source)
            tried.append(_without_images(result))
            results.append(tried[-1])
    results.append(worst_case(context, target, threat, white))
    results.append(worst_case(context, target, threat, tried, access="any"))
    return Evaluation(target, threat, tuple(results))


def _kept(
    keep: Keep,
    context: EvalContext,
    target: Target,
    threat: Threat,
    name: str,
    attack: Attack | None,
    *,
    access: Access = "white",
    source: nn.Module | None = None,
    backward: Backward = "adaptive",
) -> list[AttackResult]:
    """One trial, measured now or in a run before."""
    return keep(
        name,
        lambda: [
            measure(
                context, target, attack, threat, access=access, source=source, backward=backward
            )
        ],
    )


def _weakest_first(attacks: Sequence[Attack]) -> list[Attack]:
    return sorted(attacks, key=lambda attack: attack.effort())


def _main(attacks: Sequence[Attack]) -> Attack:
    """PGD, or else the attack of the most effort, one that follows gradients if there is one."""

    def rank(attack: Attack) -> tuple[bool, bool, int]:
        asks = getattr(attack, "attack", attack).access
        return attack.config()["name"] == "pgd", asks == "gradients", attack.effort()

    return max(attacks, key=rank)


def _without_images(result: AttackResult) -> AttackResult:
    return result._replace(per_sample=replace(result.per_sample, x_adv=None))
