"""Common corruptions in the report: a section of their own, each cell a count."""

from __future__ import annotations

from tempering.core.corruption_records import (
    NOT_ADVERSARIAL,
    CorruptionResult,
    summarize_corruptions,
)
from tempering.core.records import Count
from tempering.report.corruptions_section import corruptions_section
from tempering.report.section import Figure, TableBlock

NAMES = ("noise", "blur", "contrast", "brightness", "rotation", "translation", "jpeg")


def result(name: str, severity: int, hits: int) -> CorruptionResult:
    return CorruptionResult(
        subject="given",
        corruption=name,
        severity=severity,
        amount=severity / 10,
        unit=f"unit of {name}",
        clean=Count(hits=95, n=100),
        correct=Count(hits=hits, n=100),
        seed=0,
        weights="w",
        data_hash="d",
    )


def all_of(*names: str) -> list[CorruptionResult]:
    return [
        result(name, severity, 90 - 7 * at - severity)
        for at, name in enumerate(names)
        for severity in (3, 1, 2, 5, 4)
    ]


def test_each_cell_is_the_count_of_its_corruption_and_severity() -> None:
    section = corruptions_section(all_of(*NAMES))
    assert section is not None
    assert section.title == "Common corruptions (not adversarial)"
    assert section.prose[0].startswith("This is not adversarial robustness.")
    figure, table, amounts = section.blocks
    assert isinstance(table, TableBlock)
    assert isinstance(amounts, TableBlock)
    assert [row[0].text for row in table.table.rows] == list(NAMES)
    for at, row in enumerate(table.table.rows):
        assert [cell.text for cell in row[1:]] == [f"{90 - 7 * at - s}.0 %" for s in range(1, 6)]
    low, high = Count(hits=89, n=100).interval
    assert table.table.rows[0][1].detail == f"[{100 * low:.1f}, {100 * high:.1f}]"
    assert "100 images; clean accuracy is 95.0 %" in table.table.note
    assert [cell.text for cell in amounts.table.rows[0][1:]] == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    assert isinstance(figure, Figure)
    assert [chart.title for chart in figure.charts] == [
        "Noise, blur, contrast and brightness",
        "Rotation, translation and jpeg",
    ]
    assert "jpeg: from 95.0 % to 43.0 %" in figure.charts[1].description


def test_one_corruption_is_one_chart_and_none_is_no_section() -> None:
    section = corruptions_section(all_of("jpeg"))
    assert section is not None
    assert isinstance(section.blocks[0], Figure)
    assert [chart.title for chart in section.blocks[0].charts] == ["Jpeg"]
    assert corruptions_section([]) is None


def test_the_summary_says_what_it_is_not() -> None:
    summary = summarize_corruptions(all_of("noise", "blur"))
    assert summary.meaning == NOT_ADVERSARIAL
    assert summary.by_corruption["noise"].correct == [89, 88, 87, 86, 85]
    assert (summary.n, summary.clean_correct) == (100, 95)
