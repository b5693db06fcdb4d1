"""The paper's tables and figures as files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tempering.core.errors import RunError
from tempering.paper.page import reproduction
from tempering.paper.sections import SECTIONS
from tempering.report.run_page import render
from tests.report import synthetic_run as made


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    run = made.write(tmp_path / "run", made.hardened(), arrays=made.pictures())
    return reproduction(run, tmp_path / "docs")


def test_every_table_and_figure_is_written(files: list[Path]) -> None:
    figures = [f"figure-{number}.svg" for number in range(2, 7)]
    assert [path.name for path in files] == ["reproduction.md", *figures]
    page = files[0].read_text(encoding="utf-8")
    for number in ("II", "III", "IV", "V"):
        assert f"## Table {number}\n" in page
    for name in figures:
        assert f"]({name})" in page


def test_each_line_has_the_papers_figure_ours_interval_eps_and_verdict(files: list[Path]) -> None:
    page = files[0].read_text(encoding="utf-8")
    assert "| PGD | after | 98.1 % | 91.7 % ([89.8, 93.2]) | 0.3 | does not hold |" in page
    assert "| rho | score | 0.12 | 0.92 | 0.3 | does not hold: eq. 6 gives another |" in page
    assert "| AEDPL-DL | clean | 98.6 % | – | – | not reproduced |" in page
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    findings = made.findings()
    assert len(lines) == len(findings) + 2 * 4
    assert all(any(finding.verdict in line for line in lines) for finding in findings)


def test_figures_are_whole_drawings_that_ask_for_nothing(files: list[Path]) -> None:
    for path in files[1:]:
        root = ET.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.findtext("{http://www.w3.org/2000/svg}desc")
        links = [
            value for node in root.iter() for key, value in node.attrib.items() if "href" in key
        ]
        assert all(link.startswith("data:image/png;base64,") for link in links)
    images = [node for node in ET.parse(files[1]).iter() if node.tag.endswith("image")]
    assert len(images) == 12


def test_bars_show_paper_and_ours(files: list[Path]) -> None:
    drawing = files[3].read_text(encoding="utf-8")
    for value in ("28.7 %", "98.6 %", "97.3 %", "paper, before", "ours, after"):
        assert value in drawing


def test_findings_are_on_the_page_of_the_run_too(tmp_path: Path) -> None:
    page = render(made.write(tmp_path, made.hardened()), SECTIONS).read_text(encoding="utf-8")
    assert 'id="paper-table-II"' in page
    assert 'id="paper-III"' in page
    assert '<span class="value fair">holds only at eps 0.22</span>' in page
    assert '<span class="value bad">does not hold</span>' in page
    assert '<span class="value good">holds</span>' in page


def test_what_a_run_did_not_keep_is_left_out(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", made.findings()[:4])
    names = [path.name for path in reproduction(run, tmp_path / "docs")]
    assert names == ["reproduction.md", "figure-4.svg"]


def test_a_run_without_findings_is_refused(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", made.given())
    with pytest.raises(RunError, match="no findings"):
        reproduction(run, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()
