"""Tables IV and V of the paper beside a run's records: pure functions of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tempering.core.records import AnyRecord, Count, Finding, Measurement, Subject

CLEAN, WHITE, GRAY, RHO = 0.991, 0.9798, 0.9783, 0.12
"""Table IV: clean accuracy, means over white-box and gray-box attacks, robustness score."""

METHODS: tuple[tuple[Subject, str, float | None], ...] = (
    ("undefended", "undefended", None),
    ("single-pass", "adversarial training, single pass", 0.985),
    ("hardened", "iterative adversarial retraining", 0.991),
)
"""Table V: the model, what the paper calls the method, and its clean accuracy."""


def overall_findings(records: Sequence[AnyRecord]) -> list[Finding]:
    """Tables IV and V, as far as the records hold what they need."""
    measured = [record for record in records if isinstance(record, Measurement)]
    rows = [record for record in records if isinstance(record, Finding)]
    return [*_table_four(measured, rows), *_table_five(measured)]


def _table_four(measured: Sequence[Measurement], rows: Sequence[Finding]) -> list[Finding]:
    clean = _strict(measured, "hardened", "clean")
    findings = [] if clean is None else [_counted("IV", "clean accuracy", "after", CLEAN, clean)]
    for table, name, claimed in (("II", "mean white-box", WHITE), ("III", "mean gray-box", GRAY)):
        after = _column(rows, table, "after")
        if after:
            mean = fmean(after)
            verdict = "holds only at the eps of each attack"
            if mean < claimed:
                verdict = "does not hold at the eps of each attack"
            findings.append(_finding("IV", name, "after", claimed, mean, verdict))
    before, after = _column(rows, "II", "before"), _column(rows, "II", "after")
    if before and len(before) == len(after):
        rho = fmean(after) - fmean(before)
        told = f"does not hold: eq. 6 on the paper's own Table II gives {_own_rho(rows):.2f}"
        findings.append(_finding("IV", "rho", "score", RHO, rho, told))
    return findings


def _own_rho(rows: Sequence[Finding]) -> float:
    """Eq. 6 on the paper's figures: mean accuracy after less mean accuracy before."""

    def mean(column: str) -> float:
        return fmean(
            row.paper for row in rows if (row.table, row.column) == ("II", column) and row.paper
        )

    return mean("after") - mean("before")


def _table_five(measured: Sequence[Measurement]) -> list[Finding]:
    findings = []
    for subject, method, claimed in METHODS:
        clean, worst = (_strict(measured, subject, attack) for attack in ("clean", "worst"))
        if clean is None or worst is None:
            continue
        findings.append(_counted("V", method, "clean", claimed, clean))
        eps = next(one.eps for one in measured if one.attack == "worst")
        findings.append(
            _counted("V", method, "worst white-box case", None, worst).model_copy(
                update={"eps": eps}
            )
        )
    return findings


def _column(rows: Sequence[Finding], table: str, column: str) -> list[float]:
    return [
        row.ours
        for row in rows
        if (row.table, row.column) == (table, column) and row.ours is not None
    ]


def _strict(measured: Sequence[Measurement], subject: Subject, attack: str) -> Count | None:
    for one in measured:
        wanted = (subject, attack, "standard", "white", "adaptive")
        if (one.subject, one.attack, one.protocol, one.access, one.backward) == wanted:
            return one.robust
    return None


def _counted(table: str, row: str, column: str, paper: float | None, count: Count) -> Finding:
    verdict = "the paper gives no figure"
    if paper is not None:
        verdict = "holds" if count.interval[1] >= paper else "does not hold"
    return _finding(table, row, column, paper, count.fraction, verdict).model_copy(
        update={"interval": count.interval}
    )


def _finding(
    table: str, row: str, column: str, paper: float | None, ours: float, verdict: str
) -> Finding:
    return Finding(
        table=table,
        row=row,
        column=column,
        paper=paper,
        ours=ours,
        interval=None,
        eps=None,
        verdict=verdict,
    )
