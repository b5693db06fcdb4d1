"""The leaderboard of the zoo: entries side by side, ranked within data and threat."""

from __future__ import annotations

from pathlib import Path

import pytest

from tempering.core.record import Count
from tempering.core.records import PassCounts
from tempering.core.zoo_records import Card, EpsAccuracy, ZooEvaluation, ZooTraining
from tempering.report.section import Figure, TableBlock
from tempering.report.zoo_page import leaderboard, write_leaderboard


def card(name: str, robust: int, threat: str = "linf:0.1", passes: bool = True) -> Card:
    return Card(
        name=name,
        data="mnist",
        data_hash="d",
        threat=threat,
        model="strided_cnn",
        parameters=166406,
        weights="w",
        n=1000,
        clean=Count(hits=990, n=1000),
        robust=Count(hits=robust, n=1000),
        certified=Count(hits=robust - 10, n=1000),
        curve=[EpsAccuracy(eps=eps, robust=Count(hits=99 - at, n=100)) for at, eps in EPS],
        training=ZooTraining(
            command=f"temper harden --name {name}",
            seed=3,
            objective={"name": "interval", "kappa": 0.5},
            steps=10,
            batch_size=128,
            passes=PassCounts(forward=3840, backward=3840) if passes else None,
            seconds=90.0,
            processor="a processor",
            threads=1,
            tempering="0.1.0",
            created="2026-01-01T00:00:00+00:00",
        ),
        evaluation=ZooEvaluation(
            command="temper evaluate packed",
            seed=0,
            protocol="fast",
            access="white",
            passes=PassCounts(forward=1, backward=1),
            seconds=1.0,
            processor="a processor",
            threads=1,
            tempering="0.1.0",
            created="2026-01-01T00:00:00+00:00",
        ),
        flags=[],
        limits=["One training with one seed."],
    )


EPS = tuple(enumerate((0.0, 0.05, 0.1, 0.15)))
CARDS = [card("weak", 900), card("strong", 960), card("far", 700, "linf:0.3", passes=False)]


def rows() -> list[list[str]]:
    block = leaderboard(CARDS).sections[0].blocks[0]
    assert isinstance(block, TableBlock)
    return [[cell.text for cell in row] for row in block.table.rows]


def test_entries_stand_by_robust_accuracy_within_data_and_threat() -> None:
    assert [row[0] for row in rows()] == ["strong", "weak", "far"]


def test_a_row_has_figures_with_intervals_and_what_training_took() -> None:
    block = leaderboard(CARDS).sections[0].blocks[0]
    assert isinstance(block, TableBlock)
    first = block.table.rows[0]
    assert first[2].text == "96.0 %"
    assert first[2].detail.startswith("960 of 1,000 [94.6, ")
    assert [cell.text for cell in first[3:]] == [
        "95.0 %", "99.0 %", "166,406", "1 min 30 s", "3,840", "1,000"
    ]  # fmt: skip
    assert rows()[2][7] == "–"


def test_each_threat_has_its_figure() -> None:
    figures = [
        block.caption
        for section in leaderboard(CARDS).sections
        for block in section.blocks
        if isinstance(block, Figure)
    ]
    assert figures == ["Entries for mnist, linf:0.1", "Entries for mnist, linf:0.3"]


def test_the_page_has_commands_and_limits(tmp_path: Path) -> None:
    page = write_leaderboard(CARDS, tmp_path / "zoo.html").read_text("utf-8")
    for text in ("temper harden --name weak", "seed 3", "One training with one seed."):
        assert text in page


def test_counts_of_a_card_are_of_all_its_images() -> None:
    told = card("one", 900).model_dump() | {"n": 999}
    with pytest.raises(ValueError, match="clean is of 1000 images and n is 999"):
        Card.model_validate(told)
