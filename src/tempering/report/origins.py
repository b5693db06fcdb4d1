"""Where every number comes from: versions, hashes, settings, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempering.core.records import AnyRecord, Cost, Measurement, MinimumNorm, Provenance
from tempering.report import choosing
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


def origins(records: Sequence[AnyRecord]) -> Section | None:
    """Everything needed to make the run again, and what it cost."""
    made = choosing.provenance(records)
    blocks = (
        *tabled([_made_of(made, records), _main_costs(records)]),
        *tabled([_all_costs(records), _attacks(records), _recipe(made), _packages(made)], True),
    )
    if not blocks:
        return None
    return Section("provenance", "Provenance and costs", (), blocks)


def _made_of(made: Provenance | None, records: Sequence[AnyRecord]) -> Table | None:
    rows = _run_rows(made) if made else []
    weights = {one.subject: one.weights for one in choosing.attacked(records)}
    rows += [(f"Weights, {SUBJECTS[subject]}", digest) for subject, digest in weights.items()]
    judged = choosing.judged(records)
    if judged:
        digests = dict.fromkeys(one.data_hash for one in judged)
        rows.append(("Data judged on", ", ".join(digests)))
    cells = tuple((Cell(name), Cell(value)) for name, value in rows)
    return Table(
        "provenance-table", "What the run was made of and on", worded("What", "Value"), cells
    )


def _run_rows(made: Provenance) -> list[tuple[str, str]]:
    images = ((made.train_n, "training"), (made.validation_n, "validation"), (made.test_n, "test"))
    dropped = f"; {whole(made.dropped_n)} training images dropped" if made.dropped_n else ""
    return [
        ("Command", made.command),
        ("Made", made.created),
        ("Seed", str(made.seed)),
        ("Data", f"{made.data}, split {made.split}, hash {made.data_hash}"),
        ("Images", ", ".join(f"{whole(n)} {what}" for n, what in images) + dropped),
        ("Classes", ", ".join(made.classes)),
        ("Model", f"{made.model}, {whole(made.parameters)} parameters"),
        ("Stages with an adaptive backward", ", ".join(made.adaptive_stages) or "none"),
        ("Tempering", made.tempering),
        ("Python", made.python),
        ("Platform", made.platform),
        ("Processor", made.processor),
        ("Device", f"{made.device}, {made.precision}"),
        ("Threads, processes", f"{made.threads}, {made.processes}"),
    ]


def _main_costs(records: Sequence[AnyRecord]) -> Table | None:
    subject = choosing.main_subject(records)
    spent: list[Measurement | MinimumNorm] = [
        *choosing.measured(records, "standard", subject).values(),
        *(one for one in choosing.of_kind(records, MinimumNorm) if one.subject == subject),
    ]
    return _costs("costs", f"What each white-box attack on the {SUBJECTS[subject]} cost", spent)


def _all_costs(records: Sequence[AnyRecord]) -> Table | None:
    return _costs("all-costs", "What every measurement cost", choosing.attacked(records))


def _costs(identity: str, caption: str, spent: Sequence[Measurement | MinimumNorm]) -> Table | None:
    rows = tuple(
        (
            Cell(attack(one.attack), _circumstances(one)),
            Cell(whole(one.n)),
            Cell(whole(one.cost.forward), _each(one.cost.forward, one.n)),
            Cell(whole(one.cost.backward), _each(one.cost.backward, one.n)),
            Cell(duration(one.cost.seconds)),
        )
        for one in spent
        if one.cost != Cost()
    )
    heads = named("Attack", "Images", "Forward passes", "Backward passes", "Time")
    note = "A pass is one image through the model once; below it, passes an image. "
    note += "A worst case costs what its attacks cost together."
    return Table(identity, caption, heads, rows, note) if rows else None


def _circumstances(one: Measurement | MinimumNorm) -> str:
    who = BRIEF[one.subject]
    if isinstance(one, MinimumNorm):
        return f"{who}, minimum {one.norm}"
    gradient = ", true gradient" if one.backward == "true" else ""
    how = f"{ACCESSES[one.access]}, {one.protocol}, eps {radius(one.eps)}"
    return f"{who}, {how}{gradient}"


def _each(passes: int, n: int) -> str:
    return f"{passes / n:,.1f} each" if n else ""


def _attacks(records: Sequence[AnyRecord]) -> Table | None:
    configured = {
        one.attack: one.config
        for one in choosing.attacked(records)
        if one.config and one.attack != choosing.LAST
    }
    rows = tuple(
        (Cell(attack(name), _algorithm(name, config)), Cell(settings(config)))
        for name, config in configured.items()
    )
    return Table("attacks", "Settings of the attacks", worded("Attack", "Settings"), rows)


def _algorithm(name: str, config: Mapping[str, Any]) -> str:
    """What runs, where the name does not say it."""
    runs = str(config.get("name", ""))
    return "" if name.startswith(runs) else runs


def _recipe(made: Provenance | None) -> Table | None:
    if made is None:
        return None
    rows = tuple((Cell(key), Cell(value)) for key, value in flattened(made.recipe).items())
    return Table("recipe", "Recipe", worded("Setting", "Value"), rows)


def _packages(made: Provenance | None) -> Table | None:
    if made is None:
        return None
    rows = tuple((Cell(name), Cell(version)) for name, version in made.packages.items())
    columns = (Column("Package", numeric=False), Column("Version", numeric=False))
    return Table("packages", "Packages", columns, rows)
