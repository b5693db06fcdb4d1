"""The section of a system that is attacked in ways of its own."""

from __future__ import annotations

from tempering.core.system_records import FurtherAttack, SystemRow
from tempering.report.section import Section, TableBlock
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import counted


def further_section(row: SystemRow) -> Section:
    """A table of attack by variant; what differs between variants is told in the cells."""
    variants = list(dict.fromkeys(attack.variant for attack in row.further))
    names = list(dict.fromkeys(attack.name for attack in row.further))
    by_place = {(attack.name, attack.variant): attack for attack in row.further}
    rows = []
    for name in names:
        made = [by_place.get((name, variant)) for variant in variants]
        cells = [ABSENT if attack is None else counted(attack.withstood) for attack in made]
        images = next(attack.withstood.n for attack in made if attack is not None)
        rows.append(
            (
                Cell(name),
                *cells,
                Cell(f"{images:,}"),
                Cell(_how([attack for attack in made if attack is not None])),
            )
        )
    return Section(
        f"further-{row.system}",
        f"{row.title}: further attacks",
        (
            "Attackers who know more and more of this system. Images that withstand: the class is "
            "right without and with the attack. These figures do not enter the table of systems.",
        ),
        (
            TableBlock(
                Table(
                    f"further-{row.system}-table",
                    "Images that withstand each attack",
                    (
                        Column("attack", numeric=False),
                        *(Column(variant or "withstood") for variant in variants),
                        Column("images"),
                        Column("how", numeric=False),
                    ),
                    tuple(rows),
                    note="Intervals are 95 % Wilson intervals.",
                )
            ),
        ),
    )


def _how(made: list[FurtherAttack]) -> str:
    """What was done, once for all variants where it is the same."""
    told = list(dict.fromkeys(attack.how for attack in made))
    if len(told) == 1:
        return told[0]
    return " ".join(f"{attack.variant}: {attack.how}" for attack in made)
