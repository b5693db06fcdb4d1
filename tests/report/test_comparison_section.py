"""Two models beside each other: sentences that say no more than the counts do."""

from __future__ import annotations

from typing import Any

import pytest

from tempering.core.comparisons import ComparedModel, Comparison
from tempering.report.comparison_section import comparison_sections, verdict
from tempering.report.section import TableBlock

SIDE = {"weights": "aa", "tried": "protocol fast, access white", "n": 1000}


def comparison(both: int, alone: int, other: int, **more: Any) -> Comparison:
    content: dict[str, Any] = {
        "quantity": "robust",
        "first": ComparedModel(model="mine", run="new", **SIDE),
        "second": ComparedModel(model="theirs", run="old", **(SIDE | {"weights": "bb"})),
        "threat": "linf:0.3",
        "both": both,
        "first_only": alone,
        "second_only": other,
        "neither": 1000 - both - alone - other,
        "data_hash": "00ff",
    }
    return Comparison(**(content | more))


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ((700, 80, 20), ("this model is better by 6.0 points", "interval 4.1 to 8.0")),
        ((700, 20, 80), ("the other is better by 6.0 points", "interval 4.1 to 8.0")),
        ((700, 30, 22), ("no significant difference", "p = 0.33")),
        ((700, 5, 0), ("no significant difference", "p = 0.062")),
        ((700, 0, 0), ("the models agree on every image", "below 0.2 points")),
        ((500, 300, 10), ("this model is better", "McNemar p < 0.0001")),
    ],
)
def test_the_sentence_follows_the_test(
    counts: tuple[int, int, int], parts: tuple[str, ...]
) -> None:
    said = verdict(comparison(*counts))
    for part in parts:
        assert part in said


def test_attacks_that_differ_and_fewer_samples_are_a_warning() -> None:
    tried = "protocol thorough, access white, out of time"
    other = ComparedModel(model="theirs", run="old", **(SIDE | {"tried": tried, "n": 2000}))
    (section,) = comparison_sections([comparison(700, 80, 20, second=other)])
    assert section.title == "Compared with old"
    *_, warning = section.prose
    assert warning.startswith("Caution: The models were attacked differently")
    assert tried in warning
    assert "only the first 1000 are compared" in warning
    assert "same weights" in warning
    (alike,) = comparison_sections([comparison(700, 80, 20)])
    assert alike.prose[-1] == ""


def test_each_other_run_has_a_section_and_each_count_a_row() -> None:
    third = ComparedModel(model="third", run=None, **(SIDE | {"weights": "cc"}))
    sections = comparison_sections(
        [
            comparison(900, 50, 10, quantity="clean"),
            comparison(700, 80, 20),
            comparison(600, 1, 2, second=third),
        ]
    )
    assert [section.id for section in sections] == ["compared", "compared-2"]
    assert sections[1].title == "Compared with third"
    (block,) = sections[0].blocks
    assert isinstance(block, TableBlock)
    assert [row[0].text for row in block.table.rows] == [
        "correct without attack",
        "robust to all attacks",
    ]
    assert [cell.text for cell in block.table.rows[1][1:6]] == ["700", "80", "20", "200", "+6.0"]
    assert comparison_sections([]) == []
