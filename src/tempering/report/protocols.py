"""Accuracy by attack: at the threat's eps, at the paper's, and with the naive gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempering.core.records import Access, AnyRecord, Measurement, Subject
from tempering.report import choosing
from tempering.report.paper_figures import REPORTED, View
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import ACCESSES, BRIEF, attack, counted, norm, percent, radii, radius

Views = Mapping[View, Mapping[str, Measurement]]

NOTES: dict[Access, str] = {
    "white": "White-box samples are made against the very model that is judged.",
    "stale": (
        "Stale samples were made on the old model, only until it was fooled; "
        "they say little about the new one."
    ),
    "gray-surrogate": (
        "Gray-box: the attacker knows architecture and data, not the weights; "
        "samples come from a surrogate trained with another seed"
    ),
    "gray-before": "Gray-box, old model: fresh samples at full strength from the undefended model.",
    "black": "Black-box: the attacker sees the answers of the model alone.",
}


def standard_table(records: Sequence[AnyRecord]) -> Table | None:
    """Accuracy by attack at the threat's eps, one column a model and access."""
    views = choosing.views(records, "standard")
    if not views:
        return None
    names = choosing.in_order([name for found in views.values() for name in found])
    names = [name for name in names if name != "availability"]
    rows = [
        (Cell(attack(name)), *(_strict(found.get(name)) for found in views.values()))
        for name in names
    ]
    foot = int(choosing.LAST in names)
    everything = _everything(records, views)
    if everything is not None:
        rows.append(everything)
        foot += 1
    sizes = radii([one for found in views.values() for one in found.values()])
    return Table(
        "standard",
        f"Accuracy at {sizes}" if sizes else "Accuracy by attack",
        (Column("Attack", numeric=False), *(_column(view) for view in views)),
        tuple(rows),
        _note(views),
        foot,
    )


def _everything(records: Sequence[AnyRecord], views: Views) -> tuple[Cell, ...] | None:
    found = {
        subject: choosing.measured(records, "standard", subject, "any").get(choosing.LAST)
        for subject, _ in views
    }
    if not any(found.values()):
        return None
    cells = [
        _strict(found[subject]) if access == "white" else Cell("") for subject, access in views
    ]
    return Cell("worst case over everything tried"), *cells


def paper_tables(records: Sequence[AnyRecord]) -> list[Table]:
    """Accuracy by attack at the paper's eps, white-box and gray-box, beside the paper's own."""
    views = choosing.views(records, "paper")
    white = {view: found for view, found in views.items() if not view[1].startswith("gray")}
    gray = {view: found for view, found in views.items() if view[1].startswith("gray")}
    return [
        _paper_table(identity, caption, part)
        for identity, caption, part in (
            ("paper-white", "White-box accuracy at the paper's eps", white),
            ("paper-gray", "Gray-box accuracy at the paper's eps", gray),
        )
        if part
    ]


def _paper_table(identity: str, caption: str, views: Views) -> Table:
    found = {name: one for by_attack in views.values() for name, one in by_attack.items()}
    names = [name for name in choosing.in_order(list(found)) if name not in choosing.NO_ATTACKS]
    columns = [Column("Attack", numeric=False), Column("eps")]
    for view in views:
        if view in REPORTED:
            columns.append(Column("Paper", detail=f"{BRIEF[view[0]]}, {_reach(view[1])}"))
        columns.append(_column(view))
    rows = []
    for name in names:
        cells = [Cell(attack(name)), _own_eps(name, views)]
        for view, by_attack in views.items():
            if view in REPORTED:
                share = REPORTED[view].get(choosing.family(found[name]))
                cells.append(ABSENT if share is None else Cell(percent(share), tone="quiet"))
            cells.append(_strict(by_attack.get(name)))
        rows.append(tuple(cells))
    return Table(identity, caption, tuple(columns), tuple(rows), _note(views))


def _own_eps(name: str, views: Views) -> Cell:
    measurements = [found[name] for found in views.values() if name in found]
    sizes = dict.fromkeys(radius(one.eps) for one in measurements)
    return Cell(" or ".join(sizes), ", ".join(dict.fromkeys(map(norm, measurements))))


def naive_table(records: Sequence[AnyRecord]) -> Table | None:
    """Where a model hides its gradient: what that hides from a naive attacker."""
    rows = []
    for subject in choosing.subjects(records):
        naive = choosing.measured(records, "standard", subject, backward="true")
        honest = choosing.measured(records, "standard", subject)
        rows += [
            (
                Cell(f"{attack(name)}, {BRIEF[subject]}"),
                counted(one.robust),
                _strict(honest.get(name)),
            )
            for name, one in naive.items()
        ]
    if not rows:
        return None
    return Table(
        "naive",
        "Accuracy under the true gradient and under the adaptive one",
        (
            Column("Attack", numeric=False),
            Column("True gradient", detail="naive attacker"),
            Column("Adaptive", detail="attacker who knows the model"),
        ),
        tuple(rows),
        "The naive figure is no evidence of robustness: a stage of the model flattens the gradient "
        "that it climbs. Only the adaptive figure counts.",
    )


def _column(view: View) -> Column:
    subject, access = view
    return Column(BRIEF[subject].capitalize(), detail=ACCESSES[access])


def _reach(access: Access) -> str:
    return "gray-box" if access == "gray-surrogate" else ACCESSES[access]


def _strict(measurement: Measurement | None) -> Cell:
    return ABSENT if measurement is None else counted(measurement.robust)


def _note(views: Views) -> str:
    present = dict.fromkeys(access for _, access in views)
    notes = [NOTES[access].rstrip(".") + "." for access in present]
    models: dict[Subject, str] = {
        "undefended": "Before: the undefended model.",
        "hardened": "After: the hardened model.",
        "single-pass": "Single pass: adversarial training without retraining rounds.",
        "another-seed": "Another seed: the surrogate, attacked with its own weights known.",
    }
    legend = [text for subject, text in models.items() if any(subject == s for s, _ in views)]
    return " ".join([*legend, *notes])
