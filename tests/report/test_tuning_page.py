"""The page of a search."""

from pathlib import Path

from tempering.core.record import Count
from tempering.core.tuning_records import Trial, TuningStudy
from tempering.report.tuning_page import report_of, write_page

FINISHED = Trial(
    number=1, state="finished", objective="paper", learning_rate=0.003, weight_decay=0.0,
    value=Count(hits=80, n=100), clean=Count(hits=97, n=100), rounds=[0.7, 0.8], seconds=12.0,
    reason="MaxIterations(40): 40 steps done",
)  # fmt: skip
BETTER = FINISHED.model_copy(
    update={
        "number": 2,
        "objective": "awp+trades:beta=6,steps=3",
        "suggested": {"objective": "awp+trades"},
        "value": Count(hits=90, n=100),
    }
)
FAILED = FINISHED.model_copy(
    update={"number": 3, "state": "failed", "value": None, "clean": None, "rounds": []}
)
STUDY = TuningStudy(
    data="mnist", data_hash="", threat="linf:0.3", goal="robust", recipe="/my/own.toml",
    model="strided_cnn", objectives=["paper", "awp+trades"], judged_by=["pgd-20x2", "fgsm"],
    n=100, seed=4, command="temper tune", tempering="0.1.0", optuna="5", processor="p", threads=1,
    importance={"learning_rate": 0.9, "objective": 0.1}, trials=[FINISHED, BETTER, FAILED],
)  # fmt: skip


def test_the_page_has_the_best_settings_the_curve_and_all_trials(tmp_path: Path) -> None:
    page = write_page(STUDY, tmp_path / "study.html").read_text()
    for text in ("awp+trades", "beta = 6, steps = 3", "Value by trial", "recipe own, seed 4",
                 "learning rate", "90.0", "The search is not finished"):  # fmt: skip
        assert text in page
    (table,) = [one for one in report_of(STUDY).tables() if one.id == "trials-table"]
    assert [row[0].text for row in table.rows] == ["2", "1", "3"]
    assert table.rows[1][0].detail == "the recipe itself"
    assert (table.rows[2][-1].text, table.rows[2][-1].tone) == ("failed", "bad")
    assert table.rows[0][-1].detail == ""


def test_a_search_without_a_value_has_a_page() -> None:
    empty = STUDY.model_copy(update={"trials": [FAILED], "importance": {}})
    assert [section.id for section in report_of(empty).sections] == ["best", "trials"]
    done = STUDY.model_copy(update={"goal": "certified", "finished": True})
    prose = " ".join(report_of(done).sections[0].prose)
    assert "not finished" not in prose
