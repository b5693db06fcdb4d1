"""Sections that the paper adds to the report of a run: its protocol, and its tables."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Access, AnyRecord
from tempering.paper.findings import findings_section
from tempering.paper.reported import REPORTED
from tempering.report import selection
from tempering.report.accuracy_section import Views, robust_cell, view_column, views_note
from tempering.report.contents import SectionBuilder
from tempering.report.reading import Run
from tempering.report.section import Section, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import ACCESSES, BRIEF, attack, norm, percent, radius


def protocol_section(run: Run) -> Section | None:
    """Accuracy by attack at the eps of the paper's protocol."""
    blocks = tabled(_tables(run.records))
    prose = (
        "The paper does not state eps. For each attack it is calibrated so that the undefended "
        "model has the accuracy that the paper reports before hardening; the hardened model is "
        "evaluated at the same eps."
    )
    return Section("paper-protocol", "Paper protocol", (prose,), blocks) if blocks else None


SECTIONS: tuple[SectionBuilder, ...] = (protocol_section, findings_section)
"""In the order of the report."""


def _tables(records: Sequence[AnyRecord]) -> list[Table]:
    """Accuracy by attack at the paper's eps, white-box and gray-box, with the paper's numbers."""
    views = selection.views(records, "paper")
    white = {view: rows for view, rows in views.items() if not view[1].startswith("gray")}
    gray = {view: rows for view, rows in views.items() if view[1].startswith("gray")}
    return [
        _table(identity, caption, part)
        for identity, caption, part in (
            ("paper-white", "White-box robust accuracy at the paper's eps", white),
            ("paper-gray", "Gray-box robust accuracy at the paper's eps", gray),
        )
        if part
    ]


def _table(identity: str, caption: str, views: Views) -> Table:
    any_view = {name: row for by_attack in views.values() for name, row in by_attack.items()}
    names = [
        name for name in selection.in_order(list(any_view)) if name not in selection.NO_ATTACKS
    ]
    columns = [Column("Attack", numeric=False), Column("eps")]
    for view in views:
        if view in REPORTED:
            columns.append(Column("Paper", detail=f"{BRIEF[view[0]]}, {_access(view[1])}"))
        columns.append(view_column(view))
    rows = []
    for name in names:
        cells = [Cell(attack(name)), _calibrated_eps(name, views)]
        for view, by_attack in views.items():
            if view in REPORTED:
                share = REPORTED[view].get(selection.family(any_view[name]))
                cells.append(ABSENT if share is None else Cell(percent(share), tone="quiet"))
            cells.append(robust_cell(by_attack.get(name)))
        rows.append(tuple(cells))
    return Table(identity, caption, tuple(columns), tuple(rows), views_note(views))


def _calibrated_eps(name: str, views: Views) -> Cell:
    measurements = [by_attack[name] for by_attack in views.values() if name in by_attack]
    sizes = dict.fromkeys(radius(row.eps) for row in measurements)
    return Cell(" or ".join(sizes), ", ".join(dict.fromkeys(map(norm, measurements))))


def _access(access: Access) -> str:
    return "gray-box" if access == "gray-surrogate" else ACCESSES[access]
