"""C&W in three numbers, because one alone means nothing without a bound."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, MinimumNorm, Subject
from tempering.report import choosing
from tempering.report.section import Section, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import BRIEF, NORMS, counted, norm, radius, settings

Row = tuple[Cell, dict[Subject, Cell]]


def carlini(records: Sequence[AnyRecord]) -> Section | None:
    """Margin PGD within the threat, the minimum L2 norm, and the paper's few iterations."""
    rows = [*_bounded(records), *_nearest(records), *_few(records)]
    if not rows:
        return None
    subjects = [
        subject for subject in choosing.MODELS if any(subject in cells for _, cells in rows)
    ]
    table = Table(
        "carlini",
        "C&W: bounded, at its smallest, and with few iterations",
        (
            Column("Number", numeric=False),
            *(Column(BRIEF[subject].capitalize()) for subject in subjects),
        ),
        tuple((head, *(cells.get(one, ABSENT) for one in subjects)) for head, cells in rows),
        "The success of a minimum-norm search must be about 100 %; where it is not, the search "
        "failed and its distances mean nothing.",
    )
    prose = (
        "An unbounded C&W always succeeds, so accuracy under it means nothing by itself. Its "
        "margin loss within the threat, the smallest L2 change that fools, and the few-iteration "
        "variant that fits the paper's figures are three different things."
    )
    return Section("carlini-wagner", "C&W in three numbers", (prose,), tabled([table]))


def _bounded(records: Sequence[AnyRecord]) -> list[Row]:
    return _accuracies(records, "standard", "Margin PGD within the threat")


def _few(records: Sequence[AnyRecord]) -> list[Row]:
    return _accuracies(records, "paper", "C&W of the paper's protocol, few iterations")


def _accuracies(records: Sequence[AnyRecord], protocol: choosing.Protocol, what: str) -> list[Row]:
    rows: dict[tuple[str, float], Row] = {}
    for subject in choosing.MODELS:
        for name, one in choosing.measured(records, protocol, subject).items():
            if choosing.family(one) == "cw":
                head = Cell(f"{what}: accuracy", f"{name}, {norm(one)} eps {radius(one.eps)}")
                rows.setdefault((name, one.eps), (head, {}))[1][subject] = counted(one.robust)
    return list(rows.values())


def _nearest(records: Sequence[AnyRecord]) -> list[Row]:
    rows: dict[str, Row] = {}
    for one in choosing.of_kind(records, MinimumNorm):
        for identity, head, cell in _distances(one):
            rows.setdefault(identity, (head, {}))[1][one.subject] = cell
    return list(rows.values())


def _distances(one: MinimumNorm) -> list[tuple[str, Cell, Cell]]:
    unit = NORMS.get(one.norm, one.norm)
    median = Cell("over half not found") if one.median is None else Cell(f"{one.median:.2f}")
    who = "C&W" if one.attack.startswith("cw") else one.attack
    found = [
        (
            "success",
            Cell(f"{who}, minimum {unit}: success", settings(one.config)),
            counted(one.found),
        ),
        ("median", Cell(f"{who}, minimum {unit}: median distance"), median),
    ]
    bounds = sorted(one.within.items(), key=lambda pair: _size(pair[0]))
    found += [
        (
            f"within {bound}",
            Cell(f"{who}, minimum {unit}: accuracy at {unit} ≤ {bound}"),
            counted(c),
        )
        for bound, c in bounds
    ]
    return [(f"{one.attack} {what}", head, cell) for what, head, cell in found]


def _size(bound: str) -> float:
    try:
        return float(bound)
    except ValueError:
        return float("inf")
