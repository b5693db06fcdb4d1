"""The sections that the paper adds to a report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tempering.core.records import Count
from tempering.paper.sections import SECTIONS
from tempering.report.run_page import render
from tests.report import synthetic_run as made
from tests.report.test_page import Page, shown


def rendered(folder: Path) -> dict[str, list[list[str]]]:
    run = made.write(folder, made.hardened())
    return Page(render(run, SECTIONS).read_text(encoding="utf-8")).tables


def test_the_paper_protocol_has_each_eps_and_the_papers_figure_beside_ours(tmp_path: Path) -> None:
    tables = rendered(tmp_path)
    rows = {row[0]: row for row in tables["paper-white"][1:]}
    ours = {name: shown(Count(hits=hits, n=made.N)) for name, hits in
            made.PAPER["hardened", "white"].items()}  # fmt: skip
    assert rows["pgd-40x2"] == [
        "pgd-40x2", "0.1498 L-inf", "32.4 %", shown(Count(hits=323, n=made.N)), "98.1 %",
        ours["pgd-40x2"],
    ]  # fmt: skip
    assert rows["cw-linf-40"][2] == "7.0 %"
    assert rows["cw-linf-40"][4] == "96.9 %"
    gray = {row[0]: row for row in tables["paper-gray"][1:]}
    assert gray["bim-40"][2] == "4.5 %"
    assert gray["bim-40"][4] == "98.5 %"


def test_a_report_has_the_sections_only_if_they_are_given(tmp_path: Path) -> None:
    page = Page(render(made.write(tmp_path, made.hardened())).read_text(encoding="utf-8"))
    assert not {"paper-protocol", "findings", "paper-table-II"} & {*page.ids, *page.tables}
    assert {"paper-white", "paper-gray", "paper-table-II"} <= set(rendered(tmp_path))


def test_tables_and_sections_need_no_torch() -> None:
    code = (
        "import sys, tempering.paper.sections, tempering.paper.page, "
        "tempering.paper.overall_tables; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
