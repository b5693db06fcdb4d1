"""Accuracy by class: every number is a count of samples, and the page stays readable."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tempering.core.class_records import PerClass, per_class_record
from tempering.core.records import Count
from tempering.report.per_class_section import per_class_section
from tempering.report.reading import read_run
from tempering.report.run_page import render
from tempering.report.section import Figure, Section, TableBlock
from tempering.report.tables import Table
from tests.report import evaluated_run as evaluated
from tests.report import synthetic_run as made

N = 1000


def record(classes: int, outputs: int) -> tuple[PerClass, list[tuple[int, bool, bool, int]]]:
    """Samples that are broken at random, and their record."""
    draw = random.Random(0)
    samples = []
    for number in range(N):
        y = number % classes
        clean, robust = number >= N - evaluated.CLEAN, number >= N - evaluated.ROBUST
        wrong = draw.choice([output for output in range(outputs) if output != y])
        samples.append((y, clean, robust, y if robust else wrong))
    names = [f"c{label}" for label in range(classes)]
    names += ["adversarial"] * (outputs - classes)
    y, clean, robust, predicted = zip(*samples, strict=True)
    found = per_class_record(
        y, clean, robust, predicted, names, classes,
        subject="given", threat="linf:0.3", seed=7, weights="w", data_hash="d",
    )  # fmt: skip
    return found, samples


def section_of(folder: Path, found: PerClass) -> Section:
    run = read_run(made.write(folder, [*evaluated.records(), found], evaluated.assessment()))
    section = per_class_section(run)
    assert section is not None
    return section


def table(section: Section, identity: str) -> Table:
    blocks = [block.table for block in section.blocks if isinstance(block, TableBlock)]
    return next(table for table in blocks if table.id == identity)


def test_both_bounds_of_each_class_are_drawn_and_tabled_by_eps(tmp_path: Path) -> None:
    section = section_of(tmp_path, evaluated.classes())
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]
    one = evaluated.classes().classes[0]
    assert one.certified is not None
    shares = [f"{100 * count.fraction:.1f} %" for count in (one.certified, one.robust)]
    told = f"0: certified {shares[0]}, not broken by any attack {shares[1]}"
    assert told in figure.charts[0].description
    by_eps = table(section, "classes-by-eps")
    assert [column.label for column in by_eps.columns[2:]] == ["0.1", "0.2", "0.3", "0.45", "0.5"]
    assert [cell.text for cell in by_eps.rows[0][2:]] == [
        "80\N{EN DASH}90", "70\N{EN DASH}80", "60\N{EN DASH}70", "0\N{EN DASH}30", "0",
    ]  # fmt: skip
    assert table(section, "classes-table").columns[3].label == "Certified"


def test_without_certificates_classes_have_one_bound(tmp_path: Path) -> None:
    section = section_of(tmp_path, record(10, 10)[0])
    assert not any(isinstance(block, Figure) for block in section.blocks)
    assert "Certified" not in [column.label for column in table(section, "classes-table").columns]


@pytest.mark.parametrize(("classes", "outputs"), [(10, 10), (10, 11), (11, 11)])
def test_few_classes_have_a_whole_matrix(tmp_path: Path, classes: int, outputs: int) -> None:
    found, samples = record(classes, outputs)
    section = section_of(tmp_path, found)
    matrix = table(section, "confusions")
    assert len(matrix.columns) == outputs + 1
    assert len(matrix.rows) == classes
    for true, row in enumerate(matrix.rows):
        for predicted, cell in enumerate(row[1:]):
            count = sum(one[0] == true and one[3] == predicted for one in samples)
            assert cell.text == str(count)
    rows = table(section, "classes-table").rows
    for label, row in enumerate(rows):
        own = [one for one in samples if one[0] == label]
        robust = Count(hits=sum(one[2] for one in own), n=len(own))
        low, high = (f"{100 * bound:.1f}" for bound in robust.interval)
        assert row[3].detail == f"{robust.hits} of {robust.n} [{low}, {high}]"
        assert row[2].text == f"{100 * sum(one[1] for one in own) / len(own):.1f} %"


@pytest.mark.parametrize("classes", [100, 1000])
def test_of_many_classes_the_worst_and_the_most_frequent_confusions_are_shown(
    tmp_path: Path, classes: int
) -> None:
    found, _ = record(classes, classes)
    section = section_of(tmp_path, found)
    worst, frequent = table(section, "classes-table"), table(section, "confusions")
    assert len(worst.rows) == len(frequent.rows) == 10
    least = min(one.robust.interval[1] for one in found.classes)
    assert found.classes[int(worst.rows[0][0].text[1:])].robust.interval[1] == least
    counts = [int(row[2].text) for row in frequent.rows]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == max(e.n for e in found.confusions if e.true != e.predicted)
    assert f"All {classes:,} classes and all confusions are in records.jsonl" in section.prose[0]
    assert sum(map(sum, found.matrix())) == N


def test_the_page_has_the_section_and_a_class_without_images_is_no_worst_one(
    tmp_path: Path,
) -> None:
    at = {"subject": "given", "threat": "linf:0.3", "seed": 7, "weights": "w", "data_hash": "d"}
    found = per_class_record(
        [0, 0, 1], [True] * 3, [True, False, True], [0, 2, 1], ["a", "b", "<c>"], 3, **at
    )
    assert 2 not in found.worst()
    made.write(tmp_path, [*evaluated.records(), found], evaluated.assessment())
    page = render(tmp_path).read_text(encoding="utf-8")
    assert "Confusion matrix under attack" in page
    assert "&lt;c&gt; (1)" in page


def test_confusions_beyond_the_outputs_are_refused() -> None:
    found, _ = record(10, 10)
    document = found.model_dump()
    document["confusions"][3]["predicted"] = 10
    with pytest.raises(ValueError, match="output 10: there are 10 classes and 10 outputs"):
        PerClass.model_validate(document)


@pytest.mark.parametrize(
    ("n", "robust", "name"), [(3, (1, 3), None), (10, (4, 10), "c0"), (10, (10, 10), None)]
)
def test_the_worst_class_is_named_only_if_that_is_a_finding(
    tmp_path: Path, n: int, robust: tuple[int, int], name: str | None
) -> None:
    y = [0] * n + [1] * n
    kept = [number < robust[label] for label in (0, 1) for number in range(n)]
    found = per_class_record(
        y, [True] * len(y), kept, y, ["c0", "c1"], 2,
        subject="given", threat="linf:0.3", seed=7, weights="w", data_hash="d",
    )  # fmt: skip
    worst = found.telling_worst()
    assert (None if worst is None else worst.name) == name
    prose = " ".join(section_of(tmp_path, found).prose)
    assert ("The worst class, c0," in prose) == (name is not None)
    assert prose.startswith("The worst class" if name else f"Each class has {n} images")
