"""`temper reproduce` in small: every table and figure, and verdicts that follow from numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tempering.core.records import Finding, Measurement, load_records
from tempering.paper.overall_tables import overall_findings
from tests.app.running import Done, temper

SMALL = [
    "model.name=strided_cnn",
    "model.options.width=4",
    "model.options.hidden=32",
    "model.options.squeeze=[]",
    "data.augmentation=none",
    "training.validation.samples=20",
    "training.undefended.stopping.max_iterations=150",
    "training.undefended.optimisation.batch_size=32",
    "training.undefended.optimisation.learning_rate=5e-3",
    "training.hardened.stopping.max_iterations=20",
    "training.hardened.steps_per_round=10",
    "training.hardened.mixture.attacks=['fgsm']",
    "training.hardened.mixture.eps_warmup_steps=10",
    "training.hardened.clean_floor=0.0",
    "training.single_pass.stopping.max_iterations=10",
    "evaluation.samples=60",
    "evaluation.attacks=['fgsm', 'pgd:steps=5']",
    "evaluation.curve=none",
    "evaluation.minimum_norm=none",
    "evaluation.paper.samples=60",
    "evaluation.paper.pgd=pgd:steps=5",
    "evaluation.paper.bim=bim:steps=5",
    "evaluation.paper.cw=cw-l2:searches=2,iterations=20",
    "evaluation.paper.cw_gray=cw-linf:steps=5",
]
BEFORE = {"FGSM": 0.287, "PGD": 0.324, "BIM": 0.265, "C&W": 0.07}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduced")


@pytest.fixture(scope="module")
def done(folder: Path) -> Done:
    sets = [word for one in SMALL for word in ("--set", one)]
    words = ("reproduce", "--budget", "10m", "--name", "paper", "--out", "tables")
    return temper(*words, *sets, folder=folder)


def findings(folder: Path) -> list[Finding]:
    records = load_records(folder / "runs" / "paper" / "records.jsonl")
    return [one for one in records if isinstance(one, Finding)]


def test_every_table_and_figure_is_written(done: Done, folder: Path) -> None:
    assert done.code == 0, done.err
    names = {entry.name for entry in (folder / "tables").iterdir()}
    assert {Path(name).stem for name in names} >= {f"figure-{n}" for n in range(2, 7)}
    (page,) = (folder / "tables").glob("*.md")
    assert page.read_text(encoding="utf-8").strip() in done.out
    for table in ("II", "III", "IV", "V"):
        assert f"## Table {table}\n" in done.out
        assert any(one.table == table for one in findings(folder))
    assert done.out.rstrip().endswith(f"written: tables/{page.name}")


def test_eps_is_where_the_undefended_model_has_the_papers_accuracy(
    done: Done, folder: Path
) -> None:
    assert done.code == 0, done.err
    found = {
        one.row: one for one in findings(folder) if (one.table, one.column) == ("II", "before")
    }
    assert {row: one.paper for row, one in found.items()} == BEFORE
    for row in ("FGSM", "PGD", "BIM"):
        one = found[row]
        assert one.eps is not None
        assert one.ours is not None
        assert 0 < one.eps < 0.5
        assert one.ours == pytest.approx(BEFORE[row], abs=0.05)
        assert one.verdict.startswith("holds only at eps")


def test_after_is_measured_at_that_eps_and_the_verdict_follows(done: Done, folder: Path) -> None:
    assert done.code == 0, done.err
    rows = {(one.table, one.row, one.column): one for one in findings(folder)}
    for row in ("FGSM", "PGD", "BIM"):
        before, after = rows["II", row, "before"], rows["II", row, "after"]
        assert after.eps == before.eps
        assert after.interval is not None
        assert after.paper is not None
        reached = after.interval[1] >= after.paper
        assert after.verdict.startswith("holds only at eps" if reached else "does not hold")
    # twenty steps cannot reach what the paper says
    assert rows["IV", "clean accuracy", "after"].verdict == "does not hold"


def test_tables_four_and_five_follow_from_the_records(done: Done, folder: Path) -> None:
    assert done.code == 0, done.err
    records = load_records(folder / "runs" / "paper" / "records.jsonl")
    rest = [one for one in records if not (isinstance(one, Finding) and one.table in ("IV", "V"))]
    own = [one for one in findings(folder) if one.table in ("IV", "V")]
    assert overall_findings(rest) == own
    clean = {
        one.subject: one.robust.fraction
        for one in records
        if isinstance(one, Measurement) and (one.attack, one.protocol) == ("clean", "standard")
    }
    told = {one.row: one.ours for one in own if (one.table, one.column) == ("V", "clean")}
    assert told["undefended"] == clean["undefended"] > 0.5
    assert told["iterative adversarial retraining"] == clean["hardened"]
    assert told["adversarial training, single pass"] == clean["single-pass"]


def test_an_unknown_budget_is_a_wrong_call(tmp_path: Path) -> None:
    refused = temper("reproduce", "--budget", "1h", folder=tmp_path)
    assert refused.code == 2
    both = temper("reproduce", "--resume", "runs/x", "--name", "y", folder=tmp_path)
    assert both.code == 2
    assert "a resumed run continues with its own settings: give no others" in both.err
    assert list(tmp_path.iterdir()) == []
