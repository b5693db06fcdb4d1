"""The page and the Markdown hold what the records say, and nothing that they do not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tempering.core.errors import RunError
from tempering.core.records import Count, Record
from tempering.paper.sections import SECTIONS
from tempering.report import markdown
from tempering.report.contents import report_of
from tempering.report.reading import read_run
from tempering.report.run_page import render
from tempering.report.section import Report
from tests.report import synthetic_run as made


class Page(HTMLParser):
    """Tables, ids, headings and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.tags: list[str] = []
        self._table: list[list[str]] | None = None
        self._cell = False
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(str(given["id"]))
        if given.get("class") == "table":
            self._table = self.tables.setdefault(str(given["id"]), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._table = None
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell and self._table:
            self._table[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")


def page_of(folder: Path, records: list[Record], **more: object) -> tuple[Page, str]:
    source = render(made.write(folder, records, **more), SECTIONS).read_text(encoding="utf-8")
    return Page(source), source


def report(folder: Path, records: list[Record], **more: object) -> Report:
    return report_of(read_run(made.write(folder, records, **more)))


def shown(count: Count) -> str:
    low, high = (f"{100 * bound:.1f}" for bound in count.interval)
    return f"{100 * count.hits / count.n:.1f} % {count.hits:,} of {count.n:,} [{low}, {high}]"


def test_every_cell_of_the_standard_table_is_the_record_it_stands_for(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, made.hardened())
    rows = page.tables["standard"]
    assert [head.split(" ", 1)[1] for head in rows[0][1:]] == [
        "white-box", "white-box", "stale samples", "gray-box, surrogate",
        "gray-box, undefended model",
    ]  # fmt: skip
    names = ["clean", "fgsm", "bim-40", "pgd-40x2", "cw-linf-40", "worst"]
    for name, row in zip(names, rows[1:], strict=False):
        for hits_of, cell in zip(made.VIEWS.values(), row[1:], strict=True):
            expected = shown(Count(hits=hits_of[name], n=made.N)) if name in hits_of else "–"
            assert cell == expected, (name, row[0])
    assert rows[7][0] == "worst case over all attacks and access levels"
    assert rows[7][2] == shown(Count(hits=912, n=made.N))
    assert len(rows) == 8


def test_four_counts_naive_gradient_and_carlini(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, made.hardened())
    four = [row[1] for row in page.tables["four"][1:]]
    assert four == [shown(Count(hits=hits, n=made.N)) for hits in (991, 917, 14, 931, 37)]
    naive = page.tables["naive"][1]
    assert naive[1:] == [shown(Count(hits=hits, n=made.N)) for hits in (963, 929)]
    carlini = {row[0].split(" cw")[0].split(" searches")[0]: row for row in page.tables["carlini"]}
    assert carlini["C&W, minimum L2: median distance over all images"][1:] == ["1.12", "2.31"]
    assert carlini["C&W, minimum L2: success"][2].startswith("100.0 % 200 of 200")
    assert carlini["C&W, minimum L2: accuracy at L2 ≤ 1.5"][2].startswith("85.5 % 171 of 200")
    assert carlini["C&W, minimum L2: accuracy at L2 ≤ 2.0"][2].startswith("66.5 % 133 of 200")
    assert carlini["C&W margin loss within the threat: accuracy"][2].startswith("92.1 %")
    few = carlini["C&W of the paper's protocol, few iterations: accuracy"]
    assert few[2].startswith("95.9 %")


def test_the_gain_is_accuracy_after_minus_before(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, made.hardened())
    rows = {row[0]: row for row in page.tables["gain"][1:]}
    assert rows["fgsm"][1].startswith("+0.849 ")
    assert rows["fgsm"][2].startswith("+0.686 ")
    assert rows["worst case per sample"][1].startswith("+0.917 ")


def test_the_summary_says_both_bounds_interval_eps_n_seed_and_why_it_ended(tmp_path: Path) -> None:
    lead = report(tmp_path, made.hardened()).sections[0]
    words = " ".join(lead.prose)
    for part in (
        "hardened",
        "each pixel may change by at most 0.3",
        "Robust accuracy on 1,000 test images is at most 91.2 %",
        "[89.3, 92.8]",
        "No image is certified",
        "worst case did not rise by 0.005 in 2 rounds",
        "One flag was raised",
    ):
        assert part in words
    facts = dict(lead.blocks[-1].rows)  # type: ignore[union-attr]
    assert facts["Seed"].text == "7"
    assert facts["Threat"].detail == "eps 0.3"
    assert facts["Robust accuracy"].text == "0.0 % to 91.2 %"


def test_a_lower_bound_is_called_certified(tmp_path: Path) -> None:
    worst = Count(hits=912, n=made.N)
    bounds = {"lower": 0.425, "upper": 0.912, "interval": worst.interval}
    run = report(tmp_path, made.given(), summarized=made.summary(robust_accuracy=bounds))
    words = " ".join(run.sections[0].prose)
    assert "at least 42.5 % (certified) and at most 91.2 %" in words
    assert "No image is certified" not in words


def test_of_a_model_without_a_robust_image_no_attack_is_said_to_break_more(tmp_path: Path) -> None:
    worst = Count(hits=0, n=1000)
    bounds = {"lower": 0.0, "upper": 0.0, "interval": worst.interval}
    summarized = made.summary(robust_accuracy=bounds)
    words = " ".join(report(tmp_path, made.given(), summarized=summarized).sections[0].prose)
    assert "test images is 0.0 %" in words
    assert "attacks break every one of them" in words
    assert "may break more" not in words


def test_rounds_keep_their_outcome_and_reason(tmp_path: Path) -> None:
    page, source = page_of(tmp_path, made.hardened())
    rows = page.tables["rounds"][1:]
    assert [row[5] for row in rows] == [outcome for *_, outcome in made.ROUNDS]
    assert rows[2][6] == "clean fell below 97 %"
    assert source.count('class="ring"') == 1


def test_flags_come_with_meaning_remedy_evidence_and_images(tmp_path: Path) -> None:
    _, source = page_of(tmp_path, made.hardened())
    flag = made.flag()
    for part in (flag.name, flag.meaning, flag.remedy, "4, 18, 247, 321, 900"):
        assert part in source


def test_flags_of_the_summary_alone_are_shown_too(tmp_path: Path) -> None:
    summary = made.summary(flags=[made.flag(name="only in the summary")])
    page, source = page_of(tmp_path, made.given(), summarized=summary)
    assert "flags" in page.ids
    assert "only in the summary" in source


def test_provenance_has_command_hashes_recipe_packages_and_costs(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, made.hardened())
    rows = dict(row for row in page.tables["provenance-table"][1:])
    assert rows["Command"] == "temper harden --recipe made-up.toml"
    assert rows["Weights, hardened model"] == "hardened-0a1b2c3d"
    assert "00ff00ff00ff00ff" in rows["Data"]
    assert ["training.alpha", "0.5"] in page.tables["recipe"]
    assert ["torch", "2.0.0"] in page.tables["packages"]
    costs = {row[0].split()[0]: row[1:] for row in page.tables["costs"][1:]}
    assert costs["pgd-40x2"] == [
        "1,000",
        "41,000 41.0 per image",
        "40,000 40.0 per image",
        "12.4 s",
    ]
    assert costs["cw-l2"][1] == "1,700,000 8,500.0 per image"


def test_sections_vanish_where_nothing_was_recorded(tmp_path: Path) -> None:
    summary = made.summary(gain=None, stability={}, stop_reason=None)
    page, source = page_of(tmp_path, made.given(), summarized=summary)
    for section in (
        "paper-protocol",
        "findings",
        "gradient",
        "training",
        "data",
        "gallery",
        "flags",
        "detection",
    ):
        assert section not in page.ids
    assert {"summary", "standard-protocol", "provenance"} <= set(page.ids)
    assert set(page.tables) == {
        "standard", "carlini", "stability", "provenance-table", "costs", "all-costs", "attacks",
    }  # fmt: skip
    assert "Training ended" not in source
    assert "undefended" not in source


def test_a_run_with_a_summary_alone_still_renders(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, [], summarized=made.summary(stability={}))
    assert page.tables == {}
    assert page.tags.count("h2") == 1


def test_validation_data_is_named_where_no_test_data_was_judged(tmp_path: Path) -> None:
    records = [record.model_copy(update={"split": "validation"}) for record in made.given()]
    words = " ".join(report(tmp_path, records).sections[0].prose)
    assert "1,000 validation images" in words


HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>|`*[a](javascript:b)"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    records = [
        made.provenance(
            command=HOSTILE,
            classes=[HOSTILE] * 10,
            recipe={HOSTILE: HOSTILE},
            packages={HOSTILE: HOSTILE},
        ),
        *made.epochs("hardened"),
        *(row.model_copy(update={"reason": HOSTILE}) for row in made.rounds()),
        *(row.model_copy(update={"attack": row.attack + HOSTILE}) for row in made.measurements()),
        made.flag(name=HOSTILE, meaning=HOSTILE, remedy=HOSTILE, evidence=HOSTILE),
        *(row.model_copy(update={"row": HOSTILE, "verdict": HOSTILE}) for row in made.findings()),
    ]  # fmt: skip
    summary = made.summary(data=HOSTILE, model=HOSTILE, threat=HOSTILE, stop_reason=HOSTILE)
    return made.write(tmp_path, records, summary, made.pictures())


def test_hostile_text_stays_text_on_the_page(hostile: Path) -> None:
    source = render(hostile, SECTIONS).read_text(encoding="utf-8")
    tags = Page(source).tags
    assert "script" not in tags
    assert "onerror" in source
    assert "<img src=x" not in source
    assert "&lt;script&gt;" in source


def test_hostile_text_stays_text_in_markdown(hostile: Path) -> None:
    written = markdown.of_run(hostile, SECTIONS)
    assert "<script" not in written
    assert "<img" not in written
    assert not re.search(r"(?<!\\)\]\(javascript", written)
    tables = [part for part in written.split("\n\n") if part.startswith("| ")]
    assert len(tables) > 10
    for table in tables:
        bars = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(bars) == 1, table


def test_markdown_has_every_table_of_the_page(tmp_path: Path) -> None:
    run = report(tmp_path, made.hardened(), arrays=made.pictures())
    written = markdown.page(run)
    numbers = run.numbers()
    tables = list(run.tables())
    assert len(tables) > 15
    for table in tables:
        assert f"**{numbers[table.id]}.** " in written
    assert "| 1,000 | 41,000 (41.0 per image) |" in written
    assert render(tmp_path).with_name("report.md").read_text(encoding="utf-8") == written


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    made.write(tmp_path, made.given())
    path = tmp_path / "records.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"kind": "measurement"\n', encoding="utf-8")
    with pytest.raises(RunError, match="line 7"):
        render(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["records.jsonl", "summary.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    made.write(tmp_path, made.given())
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=name):
        render(tmp_path)


def test_a_wrong_summary_says_what_is_wrong_on_one_line(tmp_path: Path) -> None:
    made.write(tmp_path, made.given())
    document = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    document["n"] = "many"
    (tmp_path / "summary.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RunError, match=r"summary\.json: n: ") as raised:
        render(tmp_path)
    assert "\n" not in str(raised.value)


def test_the_room_needs_no_torch() -> None:
    code = "import sys, tempering.report.run_page; " \
           "sys.exit('torch' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ({"samples": 200, "subset": "stratified"}, "200, stratified by class and id"),
        ({"evaluation": {"samples": 20, "subset": "first"}}, "20, the first ones"),
        ({"evaluation": {"samples": 20}}, None),
    ],
)
def test_the_choice_of_samples_and_thirty_classes_are_named(
    tmp_path: Path, recipe: dict[str, object], told: str | None
) -> None:
    classes = [f"c{number}" for number in range(1000)]
    page, _ = page_of(tmp_path, [made.provenance(recipe=recipe, classes=classes), *made.given()])
    rows = dict(row for row in page.tables["provenance-table"][1:])
    assert rows.get("Evaluated test images") == told
    assert rows["Classes"].endswith(", c29 and 970 more")


def test_means_over_other_samples_or_losses_have_other_names(tmp_path: Path) -> None:
    page, text = page_of(tmp_path, made.hardened())
    heads = page.tables["epochs"][0]
    assert len(set(heads)) == len(heads)
    assert {"Training loss, of the objective", "Validation loss, clean cross-entropy"} <= set(heads)
    rows = dict(row for row in page.tables["stability-summary"][1:])
    assert rows["share of predictions that no attack changed"] == "0.919"
    assert rows["mean over all images of the largest drop in the probability of the true class"]
    assert "the mean is that of the largest drop of each image" in text
    assert any("median distance over all images" in row[0] for row in page.tables["carlini"])
    assert any("on validation data" in head for head in page.tables["rounds"][0])
