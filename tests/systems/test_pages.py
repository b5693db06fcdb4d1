"""Each system has a page in the docs; its facts and figures are those of code and record.

`python -m tests.systems.test_pages` writes facts and figures anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tempering.app.recorded_benchmark import recorded_budgets
from tempering.core.record import Count
from tempering.core.system_records import SystemRow, SystemTable
from tempering.systems.registry import SYSTEMS
from tests.architecture.sources import ROOT

PAGES, ALL = ROOT / "docs" / "systems", ROOT / "docs" / "benchmark.md"
BEGIN, END = "<!-- from code and record -->\n", "<!-- end -->\n"


def largest() -> str:
    return recorded_budgets()[-1]


def recorded(name: str) -> SystemTable:
    place = ROOT / "src/tempering/app/recorded" / f"{name}.json"
    return SystemTable.model_validate(json.loads(place.read_text(encoding="utf-8")))


def share(count: Count | None) -> str:
    if count is None:
        return "–"
    low, high = count.interval
    return f"{100 * count.fraction:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def figures(row: SystemRow) -> list[str]:
    cells = {
        "clean": share(row.clean),
        "oblivious attacker": share(row.oblivious),
        "adaptive attacker": share(row.adaptive),
    }
    if row.abstained is not None:
        cells["adaptive, without abstentions"] = share(row.adaptive_strict)
        cells["abstains on clean images"] = share(row.abstained)
    return [
        f"| {' | '.join(cells)} |",
        f"|{'---|' * len(cells)}",
        f"| {' | '.join(cells.values())} |",
    ]


def facts(name: str) -> str:
    """The part of a page that is generated."""
    system, table = SYSTEMS[name], recorded(largest())
    (row,) = [row for row in table.rows if row.system == name]
    lines = [f"*{system.source}.* {system.how}", ""]
    if system.claim and system.claimed is not None:
        lines += [f"**Claimed:** {100 * system.claimed:.2f} %: {system.claim}.", ""]
    if system.gaps:
        lines += [f"**How we read the gaps:** {system.gaps}", ""]
    lines += [f"**How it breaks:** {system.weakness}", ""]
    lines += [*figures(row), ""]
    shortened = f" Shortened: {'; '.join(row.shortened)}." if row.shortened else ""
    lines += [
        f"{row.n} test images of {table.data}, {table.threat}, seed {table.seed}, budget "
        f"{table.budget}, 95 % intervals "
        f"([record](../../src/tempering/app/recorded/{table.budget}.json)).{shortened}",
        "",
    ]
    for further in row.further:
        variant = f" ({further.variant})" if further.variant else ""
        lines.append(f"- {further.name}{variant}: {share(further.withstood)}. {further.how}")
    return "\n".join(lines).rstrip("\n") + "\n"


def results() -> str:
    """The recorded table, for the page of all systems."""
    table = recorded(largest())
    lines = [
        f"{table.rows[0].n} test images of {table.data}, {table.threat}, seed {table.seed}, budget "
        f"{table.budget}, {table.threads} threads; accuracies with 95 % intervals "
        f"([record](../src/tempering/app/recorded/{table.budget}.json)):",
        "",
        "| system | oblivious | adaptive | clean | training, s |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(table.rows, key=lambda row: -(row.adaptive.hits if row.adaptive else -1)):
        cells = (share(row.oblivious), share(row.adaptive), share(row.clean), f"{row.seconds:.0f}")
        lines.append(f"| [{row.title}](systems/{row.system}.md) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_page_of_all_systems_has_the_recorded_table() -> None:
    text = ALL.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0] == results()


def page(name: str) -> Path:
    return PAGES / f"{name}.md"


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_pages_say_what_code_and_record_say(name: str) -> None:
    text = page(name).read_text(encoding="utf-8")
    assert text.startswith(f"# {SYSTEMS[name].title}\n")
    assert text.split(BEGIN)[1].split(END)[0] == facts(name)
    own = text.split(END)[1]
    assert len(own.split()) > 30, "say how to use it"
    assert f"systems/{name}.md" in (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")


def write(place: Path, generated: str) -> None:
    text = place.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    place.write_text(before + BEGIN + generated + END + after, encoding="utf-8")


if __name__ == "__main__":
    for each in SYSTEMS:
        write(page(each), facts(each))
    write(ALL, results())
