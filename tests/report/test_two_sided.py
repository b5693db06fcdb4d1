"""Both bounds on the page: every figure is the count it stands for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tempering.core.records import Count, Record
from tempering.report.bounds import bounds_chart
from tempering.report.cascades import cascades
from tempering.report.contents import report_of
from tempering.report.reading import Run, read_run
from tempering.report.section import Figure, Section, Tabled
from tempering.report.tables import Table
from tempering.report.two_sided import two_sided
from tests.report import evaluated_run as evaluated
from tests.report import synthetic_run as made

N = evaluated.N


def run_of(folder: Path, records: list[Record] | None = None, **more: object) -> Run:
    content = evaluated.records() if records is None else records
    return read_run(made.write(folder, content, evaluated.assessment(**more)))


def table(section: Section, identity: str) -> Table:
    found = [one.table for one in section.blocks if isinstance(one, Tabled)]
    return next(one for one in found if one.id == identity)


def test_every_image_has_one_fate(tmp_path: Path) -> None:
    section = two_sided(run_of(tmp_path), 0.3)
    assert section is not None
    fates = table(section, "fates")
    counts = {row[0].text: int(row[1].text) for row in fates.rows}
    assert counts == {"certified": 610, "undecided": 92, "broken": 289, "wrong": 9}
    assert sum(counts.values()) == N
    low, high = Count(hits=610, n=N).interval
    assert fates.rows[0][2].text == "61.0 %"
    assert fates.rows[0][2].detail == f"[{100 * low:.1f}, {100 * high:.1f}]"
    assert "400 by interval bounds and 210 by CROWN between interval bounds" in fates.note
    (said,) = section.prose
    assert f"at least {Count(hits=610, n=N)}. " in said
    assert f"at most {Count(hits=702, n=N)}. " in said
    assert "lie 92 images that no attack broke and no proof settled" in said


def test_both_bounds_stand_in_one_chart_and_in_its_table(tmp_path: Path) -> None:
    section = two_sided(run_of(tmp_path), 0.3)
    assert section is not None
    (figure,) = [one for one in section.blocks if isinstance(one, Figure)]
    (chart,) = figure.charts
    assert "not broken: 99.0 % at 0, 91.0 % at 0.1" in chart.description
    assert "proven: 99.0 % at 0, 88.0 % at 0.1" in chart.description
    rows = {row[0].text: row for row in table(section, "two-sided-numbers").rows}
    for eps, hits in evaluated.PROVEN.items():
        assert rows[f"{eps:g}"][1].text == f"{hits}.0 %"
        assert rows[f"{eps:g}"][2].text == f"{evaluated.NOT_BROKEN[eps]}.0 %"


def test_without_proofs_nothing_is_called_proven(tmp_path: Path) -> None:
    records = [one for one in evaluated.records() if one not in evaluated.proofs()]
    unsupported = evaluated.proof(0.3, 0, unsupported="layer LSTM has no bounds")
    found = run_of(tmp_path, [*records, unsupported], certified_correct=0)
    section = two_sided(found, 0.3)
    assert section is not None
    assert "layer LSTM has no bounds" in table(section, "fates").note
    (figure,) = [one for one in section.blocks if isinstance(one, Figure)]
    assert "proven:" not in figure.charts[0].description
    assert "nothing is proven" in figure.caption
    given = two_sided(run_of(tmp_path, records, protocol="given", certified_correct=0), 0.3)
    assert given is not None
    assert table(given, "fates").note == "No proof was tried."
    assert not any(isinstance(one, Figure) for one in given.blocks)


def test_the_cascade_says_what_stood_broke_and_stayed_undecided(tmp_path: Path) -> None:
    section = cascades(run_of(tmp_path))
    assert section is not None
    shown = table(section, "cascade-white")
    assert [row[0].text for row in shown.rows] == [
        "no attack (clean)", "proofs", *evaluated.STAGES,
    ]  # fmt: skip
    stood = [evaluated.CLEAN, *evaluated.STAGES.values()]
    broke = [row[2].text for row in shown.rows]
    assert broke[2:] == [str(one - two) for one, two in pairwise(stood)]
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
    assert f"at least {lower} and at most 70.2 %" in words
    facts = dict(report.sections[0].blocks[-1].rows)  # type: ignore[union-attr]
    for count in (lower, upper):
        low, high = (f"{100 * bound:.1f}" for bound in count.interval)
        assert f"[{low}, {high}]" in facts["Robust accuracy"].detail
    assert str(bounds_chart(run).body).count('class="whisker"') == 3
    assert [section.id for section in report.sections][:5] == [
        "summary", "flags", "two-sided", "cascade", "compared",
    ]  # fmt: skip
    assert "standard-protocol" not in {section.id for section in report.sections}


def test_a_run_that_is_no_evaluation_has_no_such_section(tmp_path: Path) -> None:
    run = read_run(made.write(tmp_path, made.given()))
    assert two_sided(run, 0.3) is None


def test_a_gallery_of_nothing_is_no_section(tmp_path: Path) -> None:
    arrays = {name: array[:0] for name, array in made.pictures().items()}
    run = made.write(tmp_path, evaluated.records(), evaluated.assessment(), arrays)
    assert "gallery" not in {section.id for section in report_of(read_run(run)).sections}
