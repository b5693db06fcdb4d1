"""What a run found, in one record: a pure function of its records, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tempering.core.errors import RunError
from tempering.core.records import (
    NO_ATTACKS,
    Access,
    AnyRecord,
    AttackSummary,
    Bounds,
    Count,
    Flag,
    Measurement,
    Provenance,
    Stop,
    Subject,
    Summary,
)


@dataclass(frozen=True)
class Roles:
    """What the models of a run are, by the names under which they were measured.

    Attributes:
        subject: The model that the run is about.
        before: The same model before training, if there is one.
        another_seed: The same training with another seed, if there is one.
    """

    subject: Subject
    before: Subject | None = None
    another_seed: Subject | None = None


def summarize(
    records: Sequence[AnyRecord], roles: Roles, *, seconds: float, certified: Count | None = None
) -> Summary:
    """Summarise a run.

    Args:
        records: All records of the run; measurements of the standard protocol count, on
            test data if there are any.
        roles: Which model the run is about, and which others it is compared with.
        seconds: Wall time of the whole run.
        certified: Samples with a proof; None if nothing was certified.

    Returns:
        Fractions. Robust accuracy is at least what was certified, and at most the worst
        case over everything tried; `gain` is the worst white-box case minus the one before;
        `graybox` is under the surrogate, or under the model before hardening if there was no
        surrogate.

    Raises:
        RunError: If the run has no provenance, no clean accuracy or no worst case.

    Example:
        `summarize(load_records(path), Roles("given"), seconds=431.0).robust_accuracy`
    """
    made = next((record for record in reversed(records) if isinstance(record, Provenance)), None)
    if made is None:
        raise RunError("the records say not what the run was made of: give those of a whole run")
    table = _Table(records, roles)
    clean = table.need("clean")
    worst = table.find("worst", "any") or table.need("worst")
    lower = certified.fraction if certified else 0.0
    if lower > worst.robust.fraction:
        raise RunError(
            f"{lower:.4f} certified but {worst.robust.fraction:.4f} under attack: "
            "the certificate or the evaluation is wrong, since no attack can beat a proof"
        )
    forced = table.find("availability")
    stops = [record for record in records if isinstance(record, Stop)]
    flags: list[Flag] = []
    for record in records:
        if isinstance(record, Flag) and record not in flags:
            flags.append(record)
    return Summary(
        data=made.data,
        threat=worst.threat,
        n=worst.n,
        clean_accuracy=clean.robust.fraction,
        clean_interval=clean.robust.interval,
        robust_accuracy=Bounds(
            lower=lower, upper=worst.robust.fraction, interval=worst.robust.interval
        ),
        clean_flagged=_share(clean.flagged),
        robust_with_detection=_share(worst.detected),
        forced_flags=_share(forced.flagged) if forced else None,
        gain=table.gain(),
        stability=_stability(worst) | table.seed_spread(),
        stop_reason=stops[-1].reason if stops else None,
        attacks={name: table.attack(name) for name in table.names()},
        flags=flags,
        model=made.model,
        seed=made.seed,
        seconds=seconds,
    )


def _stability(worst: Measurement) -> dict[str, float]:
    """The share of predictions that no attack changed, and the mean of largest drops."""
    return {"unchanged_by_all": worst.stable.fraction, "mean_largest_drop": worst.drop}


def _share(count: Count | None) -> float | None:
    return None if count is None else count.fraction


class _Table:
    """The measurements of the standard protocol, and the model that the run is about."""

    def __init__(self, records: Sequence[AnyRecord], roles: Roles) -> None:
        measurements = [
            record
            for record in records
            if isinstance(record, Measurement) and record.protocol == "standard"
        ]
        self.rows = [row for row in measurements if row.split == "test"] or measurements
        self.roles, self.subject = roles, roles.subject

    def find(
        self, attack: str, access: Access = "white", subject: Subject | None = None
    ) -> Measurement | None:
        """The last such measurement with the adaptive backward."""
        wanted = (attack, access, subject or self.subject, "adaptive")
        return next(
            (
                row
                for row in reversed(self.rows)
                if (row.attack, row.access, row.subject, row.backward) == wanted
            ),
            None,
        )

    def need(self, attack: str) -> Measurement:
        measurement = self.find(attack)
        if measurement is None:
            raise RunError(
                f"the records hold no measurement {attack!r} of the {self.subject} model by the "
                "standard protocol: give those of a whole run"
            )
        return measurement

    def names(self) -> list[str]:
        """Attacks on the model that the run is about, each once, in order."""
        return list(
            dict.fromkeys(
                row.attack
                for row in self.rows
                if row.attack not in NO_ATTACKS and row.subject == self.subject
            )
        )

    def attack(self, name: str) -> AttackSummary:
        """One attack before and after, from stale samples and from outside."""
        before = self._of(self.roles.before, name)
        after, stale = self.find(name), self.find(name, "stale")
        outside = self.find(name, "gray-surrogate") or self.find(name, "gray-before")
        return AttackSummary(
            before=_share(before.robust) if before else None,
            after=_share(after.robust) if after else None,
            stale=_share(stale.robust) if stale else None,
            graybox=_share(outside.robust) if outside else None,
        )

    def seed_spread(self) -> dict[str, float]:
        """How far the worst white-box cases of two training seeds are apart."""
        own, other = self.find("worst"), self._of(self.roles.another_seed, "worst")
        if own is None or other is None:
            return {}
        return {"seed_spread": abs(own.robust.fraction - other.robust.fraction)}

    def gain(self) -> float | None:
        """Accuracy in the worst white-box case minus the one before."""
        after, before = self.find("worst"), self._of(self.roles.before, "worst")
        if after is None or before is None:
            return None
        return after.robust.fraction - before.robust.fraction

    def _of(self, subject: Subject | None, attack: str) -> Measurement | None:
        """White-box accuracy of another model of the run, if there is one."""
        return None if subject is None else self.find(attack, subject=subject)
