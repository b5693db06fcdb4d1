"""The page of a benchmark shows the figures of detectors, the sweep of FGSM, and both tables."""

from __future__ import annotations

import re

from tempering.core.detector_records import (
    ADAPTIVE,
    ALL_KNOWN,
    AttackDetection,
    Confusion,
    DetectionAtEps,
    DetectorFigures,
    Estimator,
    LeftOut,
)
from tempering.core.record import Count
from tempering.core.system_records import SystemRow, SystemTable
from tempering.report.benchmark_page import report_of
from tempering.report.run_page import html
from tempering.report.section import Figure, Report, Section
from tempering.report.tables import Table


def count(hits: int) -> Count:
    return Count(hits=hits, n=100)


def detection(attack: str, hits: int, known: bool = True) -> AttackDetection:
    return AttackDetection(
        attack=attack,
        known=known,
        auroc=hits / 100,
        auroc_interval=(0.5, 0.99),
        detected=count(hits),
        tpr_at_5=count(hits),
        roc=[(0.0, 0.0), (0.1, hits / 100), (1.0, 1.0)],
    )


FIGURES = DetectorFigures(
    name="ml_filter",
    n=100,
    threshold=1.0,
    clean_rejected=count(5),
    accuracy_on_accepted=Count(hits=95, n=110),
    accuracy_end_to_end=Count(hits=170, n=200),
    attacks=[
        detection(ALL_KNOWN, 90),
        detection("fgsm", 92),
        detection("pgd-10", 88),
        detection("deepfool", 7, known=False),
        detection(ADAPTIVE, 12, known=False),
    ],
    left_out=[
        LeftOut(
            attack=left, clean_rejected=count(4), detected={"fgsm": count(a), "pgd-10": count(b)}
        )
        for left, a, b in (("none", 91, 87), ("fgsm", 30, 86), ("pgd-10", 90, 85))
    ],
    refit_on=400,
    confusion=Confusion(kinds=["clean", "fgsm"], counts=[[96, 4], [10, 90]]),
    by_eps=[
        DetectionAtEps(eps=eps, detected={"fgsm": count(a), "pgd-10": count(b)})
        for eps, a, b in ((0.01, 5, 4), (0.1, 40, 9), (0.3, 92, 10))
    ],
    estimators=[
        Estimator(name=name, clean_rejected=count(5), detection=detection("x", 80), seconds=1.5)
        for name in ("random_forest", "knn")
    ],
    seconds=3.0,
)


def row(system: str, **values: object) -> SystemRow:
    given: dict[str, object] = {
        "title": system,
        "source": "Author, 2020",
        "threat": "linf:0.3",
        "n": 100,
        "clean": count(97),
        "oblivious": count(85),
        "adaptive": count(2),
        "overhead": 0.1,
        "seconds": 1.0,
    }
    return SystemRow.model_validate({"system": system, **given, **values})


def report(*rows: SystemRow) -> Report:
    return report_of(
        SystemTable(
            data="mnist",
            data_hash="0",
            threat="linf:0.3",
            budget="10m",
            seed=0,
            attacks=["fgsm"],
            protocol="fast",
            command="temper benchmark",
            tempering="0",
            processor="a processor",
            threads=1,
            rows=list(rows),
        )
    )


def table(of: Report, identity: str) -> Table:
    return next(table for table in of.tables() if table.id == identity)


def texts(of: Table) -> list[list[str]]:
    return [[cell.text for cell in cells] for cells in of.rows]


def section(of: Report, identity: str) -> Section:
    return next(part for part in of.sections if part.id == identity)


def test_a_detector_has_its_curves_and_tables() -> None:
    page = report(row("ml-filter", detector=FIGURES), row("undefended"))
    part = section(page, "detector-ml-filter")
    assert [one.id for one in page.sections].count("detector-undefended") == 0
    by_attack = table(page, "detector-ml-filter-attacks")
    assert [cells[0].text for cells in by_attack.rows][-1] == ADAPTIVE
    assert by_attack.rows[0][2].text == "90.0 %"
    assert by_attack.rows[0][3].text == "–"
    assert by_attack.rows[3][0].detail == "unknown"
    (figure,) = (block for block in part.blocks if isinstance(block, Figure))
    drawn = str(figure.charts[0].body)
    assert len(re.findall(r'class="line stroke-\w+" stroke-dasharray="[^"]+"></path>', drawn)) == 4
    assert "circle" not in drawn
    assert "deepfool: area 0.070" in figure.charts[0].description
    assert 'id="detector-ml-filter-roc"' in html(page)


def test_the_attack_that_was_left_out_is_marked() -> None:
    left_out = table(report(row("ml-filter", detector=FIGURES)), "detector-ml-filter-left-out")
    assert texts(left_out)[1] == ["all but fgsm", "30.0 %", "86.0 %", "4.0 %"]
    assert [cells[1].detail for cells in left_out.rows] == ["", "left out", ""]
    assert left_out.rows[1][1].tone == "bad"


def test_radii_at_which_a_detector_is_blind_are_named() -> None:
    by_eps = table(report(row("ml-filter", detector=FIGURES)), "detector-ml-filter-eps")
    assert [cells[1].detail for cells in by_eps.rows] == ["blind", "", ""]
    assert "fgsm: blind up to eps 0.01." in by_eps.note
    assert "pgd-10: blind at every eps." in by_eps.note


def test_answers_and_estimators_are_tabled() -> None:
    page = report(row("ml-filter", detector=FIGURES))
    matrix = texts(table(page, "detector-ml-filter-confusion"))
    assert matrix[0] == ["no attack (clean)", "96.0 %", "4.0 %", "100"]
    assert matrix[1] == ["fgsm", "10.0 %", "90.0 %", "100"]
    others = table(page, "detector-ml-filter-estimators")
    assert [cells[0] for cells in texts(others)] == ["random forest", "knn"]


def test_each_reading_of_a_fall_has_the_eps_that_gives_it() -> None:
    details = {
        "fgsm_on_validation": {"0": 100, "0.1": 80, "0.2": 30, "0.3": 5},
        "n": 100,
    }
    page = report(row("fgsm-study", details=details))
    assert texts(table(page, "fgsm-readings")) == [
        ["to 66 %", "66.0 %", "0.128", "+14.0"],
        ["by 66 % of what it was", "34.0 %", "0.192", "+46.0"],
        ["by 66 points", "34.0 %", "0.192", "+46.0"],
    ]
    assert texts(table(page, "fgsm-sweep-table"))[0][1:] == ["100.0 %", "80.0 %", "30.0 %", "5.0 %"]
    steady = {**details, "fgsm_on_validation": {"0": 90, "0.3": 80}}
    compared = texts(table(report(row("fgsm-study", details=steady)), "fgsm-readings"))
    assert compared[0][2:] == ["not up to 0.3", "–"]


def test_the_papers_tables_are_measured() -> None:
    page = report(
        row("paper", clean=count(99)),
        row("aedpl-dl", clean=count(88), abstained=count(5), adaptive=count(50)),
        row("ours", clean=count(98)),
        row("madry", error="no memory", clean=None),
    )
    five = texts(table(page, "table-five"))
    assert [(cells[1], cells[3]) for cells in five] == [
        ("99.10 %", "yes"),
        ("98.62 %", "no, below the claim"),
        ("–", "–"),
    ]
    one = texts(table(page, "table-one"))
    assert one[1] == ["aedpl-dl", "yes", "partly", "yes", "+10 %"]
    assert len(one) == 3
