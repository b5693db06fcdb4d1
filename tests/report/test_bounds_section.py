"""Bounds and cascade in the report: every number is the count of its records."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tempering.core.records import Count, Record
from tempering.report.bounds_section import bounds_chart, bounds_section
from tempering.report.cascade_section import cascade_section
from tempering.report.contents import report_of
from tempering.report.reading import Run, read_run
from tempering.report.section import Figure, Section, TableBlock
from tempering.report.tables import Table
from tests.report import evaluated_run as evaluated
from tests.report import synthetic_run as made

N = evaluated.N


def run_of(folder: Path, records: list[Record] | None = None, **more: object) -> Run:
    content = evaluated.records() if records is None else records
    return read_run(made.write(folder, content, evaluated.assessment(**more)))


def table(section: Section, identity: str) -> Table:
    tables = [block.table for block in section.blocks if isinstance(block, TableBlock)]
    return next(table for table in tables if table.id == identity)


def test_every_image_has_one_verdict(tmp_path: Path) -> None:
    section = bounds_section(run_of(tmp_path), 0.3)
    assert section is not None
    verdicts = table(section, "verdicts")
    counts = {row[0].text: int(row[1].text) for row in verdicts.rows}
    assert counts == {"certified": 610, "undecided": 92, "broken": 289, "misclassified": 9}
    assert sum(counts.values()) == N
    low, high = Count(hits=610, n=N).interval
    assert verdicts.rows[0][2].text == "61.0 %"
    assert verdicts.rows[0][2].detail == f"[{100 * low:.1f}, {100 * high:.1f}]"
    assert "400 by interval bounds and 210 by CROWN-IBP" in verdicts.note
    assert verdicts.note.endswith("Undecided: test/3, test/14, and 90 more (see verdicts.npz).")
    methods = table(section, "certification-methods")
    assert [[cell.text for cell in row] for row in methods.rows] == [
        ["interval bounds", "400", "0.5 s"], ["CROWN-IBP", "210", "2.0 s"],
    ]  # fmt: skip
    assert evaluated.SURVEY[0] in methods.note
    (prose,) = section.prose
    assert f"lower bound, is {Count(hits=610, n=N)}. " in prose
    assert f"upper bound, is {Count(hits=702, n=N)}. " in prose
    assert "92 images are undecided: neither broken nor certified" in prose


def test_both_bounds_stand_in_one_chart_and_in_its_table(tmp_path: Path) -> None:
    section = bounds_section(run_of(tmp_path), 0.3)
    assert section is not None
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]
    (chart,) = figure.charts
    assert "empirical (not broken): 99.0 % at 0, 91.0 % at 0.1" in chart.description
    assert "certified: 99.0 % at 0, 88.0 % at 0.1" in chart.description
    rows = {row[0].text: row for row in table(section, "bounds-numbers").rows}
    for eps, hits in evaluated.PROVEN.items():
        assert rows[f"{eps:g}"][1].text == f"{hits}.0 %"
        assert rows[f"{eps:g}"][2].text == f"{evaluated.NOT_BROKEN[eps]}.0 %"


def test_without_certificates_nothing_is_called_certified(tmp_path: Path) -> None:
    records = [record for record in evaluated.records() if record not in evaluated.proofs()]
    unsupported = evaluated.proof(0.3, 0, unsupported="layer LSTM has no bounds")
    run = run_of(tmp_path, [*records, unsupported], certified_correct=0)
    section = bounds_section(run, 0.3)
    assert section is not None
    assert "layer LSTM has no bounds" in table(section, "verdicts").note
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]
    assert "certified:" not in figure.charts[0].description
    assert "nothing is certified" in figure.caption
    given = bounds_section(run_of(tmp_path, records, protocol="given", certified_correct=0), 0.3)
    assert given is not None
    assert table(given, "verdicts").note == "Certification did not run."
    assert not any(isinstance(block, Figure) for block in given.blocks)


def test_the_cascade_says_what_stood_broke_and_stayed_undecided(tmp_path: Path) -> None:
    section = cascade_section(run_of(tmp_path))
    assert section is not None
    shown = table(section, "cascade-white")
    assert [row[0].text for row in shown.rows] == [
        "no attack (clean)", "certification", *evaluated.STAGES,
    ]  # fmt: skip
    stood = [evaluated.CLEAN, *evaluated.STAGES.values()]
    broke = [row[2].text for row in shown.rows]
    assert broke[2:] == [str(left - two) for left, two in pairwise(stood)]
    left = [int(row[3].text) for row in shown.rows]
    assert left == [991, 381, *(hits - 610 for hits in evaluated.STAGES.values())]
    words = " ".join(section.prose)
    assert "123,456 forward and 65,432 backward passes" in words
    assert "fgsm: 29 broken, 4 passes a sample of the first 32; apgd-t-50+" in words


def test_the_summary_has_both_intervals_and_the_chart_both_whiskers(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    report = report_of(run)
    lower, upper = Count(hits=610, n=N), Count(hits=702, n=N)
    words = " ".join(report.sections[0].prose)
    assert f"at least {lower} (certified) and at most 70.2 %" in words
    facts = dict(report.sections[0].blocks[-1].rows)  # type: ignore[union-attr]
    for count in (lower, upper):
        low, high = (f"{100 * bound:.1f}" for bound in count.interval)
        assert f"[{low}, {high}]" in facts["Robust accuracy"].detail
    assert str(bounds_chart(run).body).count('class="whisker"') == 3
    assert [section.id for section in report.sections][:5] == [
        "summary", "flags", "robustness-bounds", "cascade", "compared",
    ]  # fmt: skip
    assert "standard-protocol" not in {section.id for section in report.sections}


def test_a_run_that_is_no_evaluation_has_no_such_section(tmp_path: Path) -> None:
    run = read_run(made.write(tmp_path, made.given()))
    assert bounds_section(run, 0.3) is None


def test_a_gallery_of_nothing_is_no_section(tmp_path: Path) -> None:
    arrays = {name: array[:0] for name, array in made.pictures().items()}
    run = made.write(tmp_path, evaluated.records(), evaluated.assessment(), arrays)
    assert "gallery" not in {section.id for section in report_of(read_run(run)).sections}
