"""The cascade: what stood after each attack, and what that took."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.proofs import Proof
from tempering.core.records import Access, Assessment, Measurement
from tempering.report import choosing
from tempering.report.reading import Run
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Table, named
from tempering.report.two_sided import methods, settled
from tempering.report.wording import ACCESSES, attack, bracket, duration, percent, whole

PROSE = (
    "Proofs come first. Each attack then worked only on images that were right, unproven and not "
    "yet broken when it began. The last figure of each kind of access is what withstood it."
)


def cascades(run: Run) -> Section | None:
    """One table a kind of access."""
    records = run.records
    measured = [one for one in choosing.judged(records) if one.protocol == "cascade"]
    accesses = list(dict.fromkeys(one.access for one in measured))
    clean = choosing.measured(records, "standard", choosing.main_subject(records)).get(
        choosing.FIRST
    )
    proof = settled(records)
    tables = [
        _table(access, [one for one in measured if one.access == access], clean, proof)
        for access in accesses
    ]
    blocks = tabled(tables)
    prose = (PROSE, _whole(run), _learned(run), _owned(run))
    return Section("cascade", "Cascade", prose, blocks) if blocks else None


def _owned(run: Run) -> str:
    """How a gray-box attacker came by a model."""
    found = run.summary
    if not isinstance(found, Assessment) or found.surrogate is None:
        return ""
    model, right = found.surrogate, found.surrogate.validation
    return (
        f"The gray-box attacker's own model is a {model.network}, trained on "
        f"{whole(model.samples)} training images in {whole(model.steps)} steps; of validation "
        f"images it gets {percent(right.fraction)} right {bracket(right.interval)}."
    )


def _whole(run: Run) -> str:
    found = run.summary
    if not isinstance(found, Assessment):
        return ""
    return (
        f"The whole evaluation, examinations and curve among it, took {whole(found.passes.forward)}"
        f" forward and {whole(found.passes.backward)} backward passes of single images, and "
        f"{duration(found.seconds)}."
    )


def _learned(run: Run) -> str:
    found = run.summary
    if not isinstance(found, Assessment) or not found.schedule:
        return ""
    return f"The order was learned in a survey: {'; '.join(found.schedule)}."


def _table(
    access: Access,
    stages: Sequence[Measurement],
    clean: Measurement | None,
    proof: Proof | None,
) -> Table:
    proven = 0 if proof is None else proof.certified.hits
    rows = [] if clean is None else [_row(clean, None, 0)]
    if proof is not None and clean is not None:
        rows.append(_proofs(proof, clean))
    before = clean
    for stage in stages:
        rows.append(_row(stage, before, proven))
        before = stage
    return Table(
        f"cascade-{access}",
        f"{ACCESSES[access].capitalize()}: images that stand after each stage",
        named("Stage", "Stand", "Broke", "Undecided", "Forward", "Backward", "Time"),
        tuple(rows),
        "Undecided: they stand, and no proof says that they must. Forward and backward are passes "
        "of single images, a verdict's among them.",
    )


def _proofs(proof: Proof, clean: Measurement) -> tuple[Cell, ...]:
    left = clean.robust.hits - proof.certified.hits
    return (
        Cell("proofs", methods(proof)),
        Cell(percent(clean.robust.fraction)),
        Cell(""),
        Cell(whole(left)),
        Cell(""),
        Cell(""),
        Cell(duration(proof.seconds)),
    )


def _row(stage: Measurement, before: Measurement | None, proven: int) -> tuple[Cell, ...]:
    broke = "" if before is None else whole(before.robust.hits - stage.robust.hits)
    count = stage.robust
    return (
        Cell(attack(stage.attack)),
        Cell(percent(count.fraction), f"{count.hits} of {count.n} {bracket(count.interval)}"),
        Cell(broke),
        Cell(whole(count.hits - proven)),
        Cell(whole(stage.cost.forward)),
        Cell(whole(stage.cost.backward)),
        Cell(duration(stage.cost.seconds)),
    )
