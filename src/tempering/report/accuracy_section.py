"""Sections of a report with accuracy by attack: standard protocol, true gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempering.core.records import Access, AnyRecord, Assessment, Measurement, Subject
from tempering.report import selection
from tempering.report.bar_chart import Bar, BarGroup, bar_chart
from tempering.report.line_chart import Point, Series, accuracy_by_eps_chart
from tempering.report.reading import Run
from tempering.report.section import Block, Section, drawn, tabled
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Column, Table, named
from tempering.report.wording import (
    ACCESSES,
    BRIEF,
    MARKS,
    SUBJECTS,
    attack,
    counted,
    listed,
    percent,
    radii,
    radius,
)

View = tuple[Subject, Access]
"""A model and what its attacker knew."""

Views = Mapping[View, Mapping[str, Measurement]]
"""Model and access -> attack -> measurement."""

NOTES: dict[Access, str] = {
    "white": "White-box: the attack uses the evaluated model.",
    "stale": (
        "Stale samples: adversarial images made on the undefended model during training, stopped "
        "at the first success; they say little about the hardened model."
    ),
    "gray-surrogate": (
        "Gray-box: the attacker knows architecture and data but not the weights, and uses a "
        "surrogate trained with another seed."
    ),
    "gray-before": "Gray-box, undefended model: full-strength attack on the undefended model.",
    "black": "Black-box: the attacker only queries the model.",
}

MODEL_NOTES: dict[Subject, str] = {
    "undefended": "Before: the undefended model.",
    "hardened": "After: the hardened model.",
    "single-pass": "Single pass: adversarial training without retraining rounds.",
    "another-seed": "Another seed: the surrogate, attacked white-box.",
}


def standard_section(run: Run, eps: float | None) -> Section | None:
    """Accuracy by attack at the threat's eps, and by eps.

    Args:
        run: The run.
        eps: The threat's eps, to mark in the chart.
    """
    records = run.records
    table = standard_table(records)
    if table is None and isinstance(run.summary, Assessment):
        return None
    blocks: tuple[Block, ...] = (
        *tabled([table]),
        *_figure(attack_bars(records), eps_curves(records, eps)),
        *tabled([eps_table(records)], folded=True),
    )
    if not blocks:
        return None
    prose = (
        "Robust accuracy counts images that keep their true class. In the worst case an image is "
        "broken if any attack breaks it. Brackets are 95 % Wilson intervals, in percent."
    )
    return Section("standard-protocol", "Accuracy by attack", (prose,), blocks)


def _figure(bars: Chart | None, curves: Chart | None) -> tuple[Block, ...]:
    parts = {"white-box accuracy by attack": bars, "worst-case accuracy by eps": curves}
    what = " and ".join(words for words, chart in parts.items() if chart is not None)
    caption = f"{what[:1].upper()}{what[1:]}, with 95 % intervals."
    return drawn("accuracy", caption, [bars, curves])


def gradient_section(run: Run) -> Section | None:
    """Accuracy with the true gradient of a model that masks it."""
    blocks = tabled([gradient_table(run.records)])
    provenance = selection.provenance(run.records)
    stages = ", ".join(provenance.adaptive_stages) if provenance else ""
    prose = (
        "Some stages of the model mask their gradient"
        + (f" ({stages})" if stages else "")
        + ". All other numbers of this report use their adaptive backward (BPDA)."
    )
    return Section("gradient", "True and adaptive gradient", (prose,), blocks) if blocks else None


def standard_table(records: Sequence[AnyRecord]) -> Table | None:
    """Accuracy by attack at the threat's eps, one column per model and access."""
    views = selection.views(records, "standard")
    if not views:
        return None
    names = selection.in_order([name for by_attack in views.values() for name in by_attack])
    names = [name for name in names if name != "availability"]
    rows = [
        (Cell(attack(name)), *(robust_cell(by_attack.get(name)) for by_attack in views.values()))
        for name in names
    ]
    foot = int(selection.LAST in names)
    total = _worst_over_all_access(records, views)
    if total is not None:
        rows.append(total)
        foot += 1
    sizes = radii([row for by_attack in views.values() for row in by_attack.values()])
    return Table(
        "standard",
        f"Robust accuracy at {sizes}" if sizes else "Robust accuracy by attack",
        (Column("Attack", numeric=False), *(view_column(view) for view in views)),
        tuple(rows),
        views_note(views),
        foot,
    )


def _worst_over_all_access(records: Sequence[AnyRecord], views: Views) -> tuple[Cell, ...] | None:
    worst = {
        subject: selection.measured(records, "standard", subject, "any").get(selection.LAST)
        for subject, _ in views
    }
    if not any(worst.values()):
        return None
    cells = [
        robust_cell(worst[subject]) if access == "white" else Cell("") for subject, access in views
    ]
    return Cell("worst case over all attacks and access levels"), *cells


def gradient_table(records: Sequence[AnyRecord]) -> Table | None:
    """Accuracy with the true gradient beside the adaptive one; None if no stage masks it."""
    rows = []
    for subject in selection.subjects(records):
        true = selection.measured(records, "standard", subject, backward="true")
        adaptive = selection.measured(records, "standard", subject)
        rows += [
            (
                Cell(f"{attack(name)}, {BRIEF[subject]}"),
                counted(row.robust),
                robust_cell(adaptive.get(name)),
            )
            for name, row in true.items()
        ]
    if not rows:
        return None
    return Table(
        "naive",
        "Accuracy under the true gradient and the adaptive backward",
        (
            Column("Attack", numeric=False),
            Column("True gradient", detail="naive attacker"),
            Column("Adaptive", detail="attacker who knows the model"),
        ),
        tuple(rows),
        "Accuracy under the true gradient is no evidence of robustness, because a stage of the "
        "model masks it. Only the adaptive number counts.",
    )


def view_column(view: View) -> Column:
    """The column of a model and access."""
    subject, access = view
    return Column(BRIEF[subject].capitalize(), detail=ACCESSES[access])


def robust_cell(measurement: Measurement | None) -> Cell:
    """Robust accuracy of a measurement with its counts."""
    return ABSENT if measurement is None else counted(measurement.robust)


def views_note(views: Views) -> str:
    """Explains the models and access levels of a table."""
    subjects = {subject for subject, _ in views}
    models = [text for subject, text in MODEL_NOTES.items() if subject in subjects]
    return " ".join([*models, *(NOTES[access] for access in dict.fromkeys(a for _, a in views))])


def attack_bars(records: Sequence[AnyRecord]) -> Chart | None:
    """White-box accuracy by attack, one bar per model."""
    by_subject = {
        subject: selection.measured(records, "standard", subject) for subject in selection.MODELS
    }
    by_subject = {
        subject: rows for subject, rows in by_subject.items() if selection.attacks_only(rows)
    }
    names = selection.in_order([name for rows in by_subject.values() for name in rows])
    names = [name for name in names if name != "availability"]
    groups = [
        BarGroup(
            attack(name),
            tuple(
                Bar(SUBJECTS[subject], *_share(rows.get(name)), MARKS[subject])
                for subject, rows in by_subject.items()
            ),
        )
        for name in names
    ]
    if not groups:
        return None
    description = [
        f"{attack(name)}: "
        + ", ".join(
            f"{SUBJECTS[subject]} {percent(rows[name].robust.fraction)}"
            for subject, rows in by_subject.items()
            if name in rows
        )
        for name in names
    ]
    return bar_chart("White-box accuracy by attack", "; ".join(description) + ".", groups)


def _share(measurement: Measurement | None) -> tuple[float | None, tuple[float, float] | None]:
    if measurement is None:
        return None, None
    return measurement.robust.fraction, measurement.robust.interval


def eps_curves(records: Sequence[AnyRecord], eps: float | None) -> Chart | None:
    """Accuracy by eps, one line per model with its interval as a band.

    Args:
        records: Of the run.
        eps: The threat's eps, to mark.
    """
    lines = []
    for subject in selection.MODELS:
        rows = _curve(records, subject)
        if len(rows) > 1:
            points = tuple(Point(row.eps, row.robust.fraction, row.robust.interval) for row in rows)
            dash = "6 4" if subject == "undefended" else "none"
            lines.append(Series(SUBJECTS[subject], points, MARKS[subject], dash))
    return accuracy_by_eps_chart("Worst-case accuracy by eps", lines, eps) if lines else None


def _curve(records: Sequence[AnyRecord], subject: Subject) -> list[Measurement]:
    rows = selection.swept(records, subject)
    clean = selection.measured(records, "standard", subject).get(selection.FIRST)
    if rows and clean is not None and rows[0].eps > 0:
        rows.insert(0, clean.model_copy(update={"eps": 0.0}))
    return rows


def eps_table(records: Sequence[AnyRecord]) -> Table | None:
    """The numbers of the curves."""
    by_subject = {
        subject: {row.eps: row for row in _curve(records, subject)} for subject in selection.MODELS
    }
    by_subject = {subject: rows for subject, rows in by_subject.items() if rows}
    if not by_subject:
        return None
    sizes = sorted({eps for rows in by_subject.values() for eps in rows})
    attacks = dict.fromkeys(
        attack(row.attack) for rows in by_subject.values() for row in rows.values() if row.eps > 0
    )
    cells = tuple(
        (
            Cell(radius(eps)),
            *(counted(rows[eps].robust) if eps in rows else ABSENT for rows in by_subject.values()),
        )
        for eps in sizes
    )
    heads = named("eps", *(BRIEF[subject].capitalize() for subject in by_subject))
    return Table("sweep", f"Accuracy by eps ({listed(list(attacks))})", heads, cells)
