"""Section of a report: versions, hashes, settings and costs behind every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempering.core.records import AnyRecord, Cost, Measurement, MinimumNorm, Provenance
from tempering.report import selection
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Column, Table, named, worded
from tempering.report.wording import (
    ACCESSES,
    BRIEF,
    SUBJECTS,
    attack,
    duration,
    flattened,
    radius,
    settings,
    whole,
)

_CLASSES = 30
"""Names of classes that are listed."""


def provenance_section(records: Sequence[AnyRecord]) -> Section | None:
    """Everything needed to repeat the run, and its cost."""
    provenance = selection.provenance(records)
    blocks = (
        *tabled([_provenance_table(provenance, records), _main_costs(records)]),
        *tabled(
            [_all_costs(records), _attacks(records), _recipe(provenance), _packages(provenance)],
            folded=True,
        ),
    )
    if not blocks:
        return None
    return Section("provenance", "Provenance and costs", (), blocks)


def _provenance_table(provenance: Provenance | None, records: Sequence[AnyRecord]) -> Table | None:
    rows = _run_rows(provenance) if provenance else []
    weights = {row.subject: row.weights for row in selection.attacked(records)}
    rows += [(f"Weights, {SUBJECTS[subject]}", digest) for subject, digest in weights.items()]
    measured = selection.measurements(records)
    if measured:
        digests = dict.fromkeys(row.data_hash for row in measured)
        rows.append(("Hash of the evaluated samples", ", ".join(digests)))
    cells = tuple((Cell(name), Cell(value)) for name, value in rows)
    return Table(
        "provenance-table", "Inputs and environment of the run", worded("Item", "Value"), cells
    )


def _run_rows(provenance: Provenance) -> list[tuple[str, str]]:
    images = (
        (provenance.train_n, "training"),
        (provenance.validation_n, "validation"),
        (provenance.test_n, "test"),
    )
    dropped = (
        f"; {whole(provenance.dropped_n)} training images dropped" if provenance.dropped_n else ""
    )
    return [
        ("Command", provenance.command),
        ("Created", provenance.created),
        ("Seed", str(provenance.seed)),
        ("Data", f"{provenance.data}, split {provenance.split}, hash {provenance.data_hash}"),
        ("Images", ", ".join(f"{whole(n)} {what}" for n, what in images) + dropped),
        *_evaluated(provenance.recipe),
        ("Classes", _listed(provenance.classes)),
        ("Model", f"{provenance.model}, {whole(provenance.parameters)} parameters"),
        *([("Defenses", "; ".join(provenance.defenses))] if provenance.defenses else []),
        *([("Start of training", provenance.start)] if provenance.start else []),
        *([("Notes", "; ".join(provenance.notes))] if provenance.notes else []),
        ("Stages with an adaptive backward", ", ".join(provenance.adaptive_stages) or "none"),
        ("Tempering", provenance.tempering),
        ("Python", provenance.python),
        ("Platform", provenance.platform),
        ("Processor", provenance.processor),
        ("Device", f"{provenance.device}, {provenance.precision}"),
        *([("Batch size", whole(provenance.batch_size))] if provenance.batch_size else []),
        ("Threads, processes", f"{provenance.threads}, {provenance.processes}"),
    ]


def _evaluated(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How many test images were evaluated, and which."""
    settings = recipe.get("evaluation", recipe)
    if not isinstance(settings, Mapping):
        return []
    names = {"stratified": "stratified by class and id", "first": "the first ones"}
    if settings.get("subset") not in names or not isinstance(settings.get("samples"), int):
        return []
    which = f"{whole(settings['samples'])}, {names[settings['subset']]}"
    return [("Evaluated test images", which)]


def _listed(classes: Sequence[str]) -> str:
    more = len(classes) - _CLASSES
    return ", ".join(classes[:_CLASSES]) + (f" and {whole(more)} more" if more > 0 else "")


def _main_costs(records: Sequence[AnyRecord]) -> Table | None:
    subject = selection.main_subject(records)
    spent: list[Measurement | MinimumNorm] = [
        *selection.measured(records, "standard", subject).values(),
        *(row for row in selection.of_kind(records, MinimumNorm) if row.subject == subject),
    ]
    return _costs("costs", f"Cost of each white-box attack on the {SUBJECTS[subject]}", spent)


def _all_costs(records: Sequence[AnyRecord]) -> Table | None:
    return _costs("all-costs", "Cost of every measurement", selection.attacked(records))


def _costs(identity: str, caption: str, spent: Sequence[Measurement | MinimumNorm]) -> Table | None:
    rows = tuple(
        (
            Cell(attack(row.attack), _conditions(row)),
            Cell(whole(row.n)),
            Cell(whole(row.cost.forward), _per_image(row.cost.forward, row.n)),
            Cell(whole(row.cost.backward), _per_image(row.cost.backward, row.n)),
            Cell(duration(row.cost.seconds)),
        )
        for row in spent
        if row.cost != Cost()
    )
    heads = named("Attack", "Images", "Forward passes", "Backward passes", "Time")
    note = "A pass is one image through the model; the second line is passes over all images of "
    note += "the row, those that the attack skipped included. "
    note += "The cost of a worst case is the sum over its attacks."
    return Table(identity, caption, heads, rows, note) if rows else None


def _conditions(row: Measurement | MinimumNorm) -> str:
    who = BRIEF[row.subject]
    if isinstance(row, MinimumNorm):
        return f"{who}, minimum {row.norm}"
    gradient = ", true gradient" if row.backward == "true" else ""
    how = f"{ACCESSES[row.access]}, {row.protocol}, eps {radius(row.eps)}"
    return f"{who}, {how}{gradient}"


def _per_image(passes: int, n: int) -> str:
    return f"{passes / n:,.1f} per image" if n else ""


def _attacks(records: Sequence[AnyRecord]) -> Table | None:
    configured = {
        row.attack: row.config
        for row in selection.attacked(records)
        if row.config and row.attack != selection.LAST
    }
    rows = tuple(
        (Cell(attack(name), _algorithm(name, config)), Cell(settings(config)))
        for name, config in configured.items()
    )
    return Table("attacks", "Hyperparameters of the attacks", worded("Attack", "Settings"), rows)


def _algorithm(name: str, config: Mapping[str, Any]) -> str:
    """The algorithm, if the name does not contain it."""
    algorithm = str(config.get("name", ""))
    return "" if name.startswith(algorithm) else algorithm


def _recipe(provenance: Provenance | None) -> Table | None:
    if provenance is None:
        return None
    rows = tuple((Cell(key), Cell(value)) for key, value in flattened(provenance.recipe).items())
    return Table("recipe", "Recipe", worded("Setting", "Value"), rows)


def _packages(provenance: Provenance | None) -> Table | None:
    if provenance is None:
        return None
    rows = tuple((Cell(name), Cell(version)) for name, version in provenance.packages.items())
    columns = (Column("Package", numeric=False), Column("Version", numeric=False))
    return Table("packages", "Packages", columns, rows)
