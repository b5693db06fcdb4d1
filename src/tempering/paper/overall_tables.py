"""Tables IV and V of the paper compared with a run: pure functions of its records."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tempering.core.records import AnyRecord, Count, Finding, Measurement, Subject
from tempering.paper.reported import CLEAN, MEAN_GRAY, MEAN_WHITE, METHODS, RHO
from tempering.paper.robustness_score import rho


def overall_findings(records: Sequence[AnyRecord]) -> list[Finding]:
    """Compare Tables IV and V with a run.

    Args:
        records: Those of the run, with the findings of Tables II and III.

    Returns:
        One finding for each figure whose records exist.
    """
    measured = [record for record in records if isinstance(record, Measurement)]
    rows = [record for record in records if isinstance(record, Finding)]
    return [*_table_four(measured, rows), *_table_five(measured)]


def _table_four(measured: Sequence[Measurement], rows: Sequence[Finding]) -> list[Finding]:
    clean = _robust(measured, "hardened", "clean")
    findings = [] if clean is None else [_counted("IV", "clean accuracy", "after", CLEAN, clean)]
    for table, name, claimed in (
        ("II", "mean white-box", MEAN_WHITE),
        ("III", "mean gray-box", MEAN_GRAY),
    ):
        after = _column(rows, table, "after")
        if after:
            mean = fmean(after)
            verdict = "holds only at the eps of each attack"
            if mean < claimed:
                verdict = "does not hold at the eps of each attack"
            findings.append(_finding("IV", name, "after", claimed, mean, verdict))
    before, after = _column(rows, "II", "before"), _column(rows, "II", "after")
    if before and len(before) == len(after):
        verdict = (
            f"does not hold: eq. 6 on the paper's own Table II gives {_reported_rho(rows):.2f}"
        )
        score = rho(fmean(before), fmean(after))
        findings.append(_finding("IV", "rho", "score", RHO, score, verdict))
    return findings


def _reported_rho(rows: Sequence[Finding]) -> float:
    """Eq. 6 on the mean accuracies that the paper reports."""

    def mean(column: str) -> float:
        return fmean(
            row.paper for row in rows if (row.table, row.column) == ("II", column) and row.paper
        )

    return rho(mean("before"), mean("after"))


def _table_five(measured: Sequence[Measurement]) -> list[Finding]:
    findings = []
    for subject, method, claimed in METHODS:
        clean, worst = (_robust(measured, subject, attack) for attack in ("clean", "worst"))
        if clean is None or worst is None:
            continue
        findings.append(_counted("V", method, "clean", claimed, clean))
        eps = next(record.eps for record in measured if record.attack == "worst")
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


def _robust(measured: Sequence[Measurement], subject: Subject, attack: str) -> Count | None:
    wanted = (subject, attack, "standard", "white", "adaptive")
    for record in measured:
        key = (record.subject, record.attack, record.protocol, record.access, record.backward)
        if key == wanted:
            return record.robust
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
