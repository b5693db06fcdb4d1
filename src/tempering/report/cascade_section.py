"""Section of a report: robust samples after each stage of the cascade, and their cost."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.proofs import Proof
from tempering.core.records import Access, Assessment, Measurement
from tempering.report import selection
from tempering.report.bounds_section import certified_by_method, first_proof
from tempering.report.reading import Run
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Table, named
from tempering.report.wording import ACCESSES, attack, bracket, duration, percent, whole

PROSE = (
    "Certification runs first. Each attack then runs only on the samples that are correctly "
    "classified, not certified and not yet broken."
)


def cascade_section(run: Run) -> Section | None:
    """One table per access level."""
    records = run.records
    stages = [row for row in selection.measurements(records) if row.protocol == "cascade"]
    accesses = list(dict.fromkeys(row.access for row in stages))
    standard = selection.measured(records, "standard", selection.main_subject(records))
    clean, alone = standard.get(selection.FIRST), not selection.attacks_only(standard)
    proof = first_proof(records)
    tables = [
        _table(access, [row for row in stages if row.access == access], clean, proof, alone)
        for access in accesses
    ]
    blocks = tabled(tables)
    prose = (PROSE, _total_cost(run), _schedule(run), _surrogate(run))
    return Section("cascade", "Attack cascade", prose, blocks) if blocks else None


def _surrogate(run: Run) -> str:
    """How the surrogate of the gray-box attacker was trained."""
    summary = run.summary
    if not isinstance(summary, Assessment) or summary.surrogate is None:
        return ""
    model, accuracy = summary.surrogate, summary.surrogate.validation
    return (
        f"The surrogate of the gray-box attacker is a {model.network}, trained for "
        f"{whole(model.steps)} steps on {whole(model.samples)} training images; its validation "
        f"accuracy is {percent(accuracy.fraction)} {bracket(accuracy.interval)}."
    )


def _total_cost(run: Run) -> str:
    summary = run.summary
    if not isinstance(summary, Assessment):
        return ""
    return (
        f"The whole evaluation, with all checks and curves, took {whole(summary.passes.forward)} "
        f"forward and {whole(summary.passes.backward)} backward passes of single images and "
        f"{duration(summary.seconds)}."
    )


def _schedule(run: Run) -> str:
    summary = run.summary
    if not isinstance(summary, Assessment) or not summary.schedule:
        return ""
    return f"Order of the attacks, by a trial on the first samples: {'; '.join(summary.schedule)}."


def _table(
    access: Access,
    stages: Sequence[Measurement],
    clean: Measurement | None,
    proof: Proof | None,
    alone: bool,
) -> Table:
    """One access level; what the first stage broke is known if no attack ran before it."""
    certified = 0 if proof is None else proof.certified.hits
    rows = [] if clean is None else [_row(clean, None, 0)]
    if proof is not None and clean is not None:
        rows.append(_certification_row(proof, clean))
    before = clean if alone else None
    for stage in stages:
        rows.append(_row(stage, before, certified))
        before = stage
    return Table(
        f"cascade-{access}",
        f"{ACCESSES[access].capitalize()}: robust samples after each stage",
        named("Stage", "Robust", "Broken", "Undecided", "Forward", "Backward", "Time"),
        tuple(rows),
        "Undecided samples are robust so far and not certified. Forward and backward are passes of "
        "single images, those of the verdicts included.",
    )


def _certification_row(proof: Proof, clean: Measurement) -> tuple[Cell, ...]:
    undecided = clean.robust.hits - proof.certified.hits
    return (
        Cell("certification", certified_by_method(proof)),
        Cell(percent(clean.robust.fraction)),
        Cell(""),
        Cell(whole(undecided)),
        Cell(""),
        Cell(""),
        Cell(duration(proof.seconds)),
    )


def _row(stage: Measurement, before: Measurement | None, certified: int) -> tuple[Cell, ...]:
    broken = "" if before is None else whole(before.robust.hits - stage.robust.hits)
    count = stage.robust
    return (
        Cell(attack(stage.attack)),
        Cell(percent(count.fraction), f"{count.hits} of {count.n} {bracket(count.interval)}"),
        Cell(broken),
        Cell(whole(count.hits - certified)),
        Cell(whole(stage.cost.forward)),
        Cell(whole(stage.cost.backward)),
        Cell(duration(stage.cost.seconds)),
    )
