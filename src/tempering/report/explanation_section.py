"""Section of a run's report: how attributions move, with a link to the page of explanations."""

from __future__ import annotations

from tempering.report.explanation_tables import area as area_of
from tempering.report.explanation_tables import meant, name, source
from tempering.report.reading import Run
from tempering.report.section import Link, Section, tabled
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import attack


def explanation_section(run: Run) -> Section | None:
    """Shift of each model under its strongest attack, and the detector; None without any."""
    record = run.explanation
    if record is None or not any(model.attacks for model in record.models):
        return None
    rows = []
    for model in record.models:
        part = model.strongest
        if part is None:
            continue
        shift = part.shifts[0]
        areas = {row.source: area_of(row) for row in model.detection}
        rows.append(
            (
                Cell(name(model.subject), attack(part.attack)),
                meant(shift.correlation),
                meant(shift.noise_correlation),
                areas.get(part.attack, ABSENT),
                areas.get("adaptive", ABSENT),
            )
        )
    table = Table(
        "explanations-table",
        "Attributions under the strongest attack",
        (
            Column("model", numeric=False),
            Column("rank correlation", detail="attack"),
            Column("rank correlation", detail="noise of the same size"),
            Column("AUROC", detail=source("attack")),
            Column("AUROC", detail=source("adaptive")),
        ),
        tuple(rows),
        note=(
            "Rank correlation of integrated gradients with those of the clean image. AUROC of the "
            f"score {record.score}; the attacker who knows it is the one that counts."
        ),
    )
    return Section(
        "explanations",
        "Explanations under attack",
        (),
        (*tabled([table]), Link("explain.html", "Images, layers and ROC curves")),
    )
