"""The section of a system that is attacked in ways of its own."""

from __future__ import annotations

from tempering.core.record import Count
from tempering.core.system_records import FurtherAttack, SystemRow
from tempering.report.further_attacks import further_section
from tempering.report.section import TableBlock


def attack(name: str, variant: str, hits: int, how: str = "Known.") -> FurtherAttack:
    return FurtherAttack(name=name, how=how, variant=variant, withstood=Count(hits=hits, n=10))


def test_attacks_are_rows_and_variants_columns() -> None:
    row = SystemRow(
        system="s",
        title="S",
        source="A, 2023",
        threat="linf:0.3",
        n=10,
        further=[
            attack("known", "trigger 1", 1),
            attack("read", "trigger 1", 2, "Ten of ten."),
            attack("known", "trigger 2", 3),
            attack("read", "trigger 2", 4, "Nine of ten."),
            attack("labels", "trigger 2", 5),
        ],
    )
    (block,) = further_section(row).blocks
    assert isinstance(block, TableBlock)
    table = block.table
    assert [column.label for column in table.columns] == [
        "attack",
        "trigger 1",
        "trigger 2",
        "images",
        "how",
    ]
    assert [[cell.text for cell in cells] for cells in table.rows] == [
        ["known", "10.0 %", "30.0 %", "10", "Known."],
        ["read", "20.0 %", "40.0 %", "10", "trigger 1: Ten of ten. trigger 2: Nine of ten."],
        ["labels", "–", "50.0 %", "10", "Known."],
    ]
