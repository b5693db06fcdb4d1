"""`temper benchmark`: rows of both attackers, errors as rows, resuming, the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import tempering as tp
from tempering.app import benchmark as module
from tempering.app.run_list import list_runs
from tempering.core.errors import RunError, UnknownNameError, UsageError
from tempering.core.system_records import SystemTable
from tempering.models.registry import build
from tempering.systems import setting as shared
from tempering.systems import watched
from tempering.systems.registry import SYSTEMS
from tempering.systems.setting import BUDGETS, Setting
from tempering.systems.system import Fitted
from tests.app.running import temper

KEYS = {
    "system",
    "claimed",
    "oblivious",
    "adaptive",
    "clean",
    "abstention",
    "overhead",
    "seconds",
    "n",
    "error",
    "claim",
    "adaptive_strict",
    "shortened",
    "flags",
}


def narrow(*given: Any, **options: Any) -> nn.Module:
    """The network that systems share, with a few filters."""
    return build(*given, **{**options, "width": 8, "hidden": 32})


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(
        BUDGETS["10m"], standard_steps=60, adversarial_steps=5, attack_steps=2, samples=12
    )
    monkeypatch.setitem(BUDGETS, "10m", small)
    monkeypatch.setattr(shared, "build", narrow)
    monkeypatch.setattr(module, "ATTACKS", ("fgsm", "pgd:steps=5"))


WORDS = ("benchmark", "--data", "digits", "--threat", "linf:0.1", "--name", "b")


@pytest.mark.usefixtures("tiny")
def test_both_attackers_are_counted_and_the_table_is_written(tmp_path: Path) -> None:
    done = temper(*WORDS, "--systems", "undefended,ai-guardian,paper", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert [row["system"] for row in rows] == ["undefended", "ai-guardian", "paper"]
    for row in rows:
        assert set(row) == KEYS
        assert row["error"] is None
        assert 0 <= row["adaptive"] <= row["oblivious"] <= 1
        assert row["n"] == 12
    assert rows[0]["claimed"] is None
    assert rows[1]["claimed"] == 0.958
    assert rows[1]["claim"]
    assert rows[2]["adaptive_strict"] is not None
    assert all(isinstance(row["flags"], list) for row in rows)
    assert rows[0]["abstention"] is None
    assert rows[2]["abstention"] is not None
    table = SystemTable.model_validate_json((tmp_path / "runs/b/benchmark.json").read_text())
    assert set(table.rows[1].by_attack) == {"fgsm", "pgd-5"}
    assert [bool(row.further) for row in table.rows] == [False, True, False]
    assert {attack.variant for attack in table.rows[1].further} == {"trigger 1"}
    assert max(attack.withstood.n for attack in table.rows[1].further) == 12
    page = (tmp_path / "runs/b/benchmark.html").read_text()
    (listed,) = temper("list", "runs", "--json", folder=tmp_path).json()
    assert (listed["status"], listed["kind"]) == ("finished", "benchmark")
    assert "3 systems on digits" in listed["summary"]
    assert "AI-Guardian" in page
    assert "Systems under attack" in page
    assert "AI-Guardian: further attacks" in page
    assert "trigger from queries" in page
    assert "Undefended: further attacks" not in page


@pytest.mark.usefixtures("tiny")
def test_a_system_that_fails_is_a_row_and_finished_ones_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    honest = type(SYSTEMS["undefended"]).fit

    def counted(self: object, setting: Setting) -> Fitted:
        fitted.append("undefended")
        return honest(self, setting)  # type: ignore[arg-type]

    def failing(_self: object, _setting: Setting) -> Fitted:
        raise ValueError("no such layer")

    monkeypatch.setattr(type(SYSTEMS["undefended"]), "fit", counted)
    with monkeypatch.context() as patch:
        patch.setattr(type(SYSTEMS["madry"]), "fit", failing)
        done = tp.benchmark(
            systems=["undefended", "madry"],
            data="digits",
            threat="linf:0.1",
            samples=4,
            name="b",
            runs=tmp_path,
        )
    good, bad = done.table.rows
    assert good.error is None
    assert bad.error is not None
    assert "ValueError: no such layer" in bad.error
    assert bad.short()["adaptive"] is None
    assert "no such layer" in done.page.read_text()
    asked = done.run / "checkpoint" / "run.json"
    (done.run / "benchmark.json").unlink()
    (begun,) = list_runs(tmp_path)
    assert (begun.status, begun.kind) == ("unfinished", "benchmark")
    assert asked.is_file()
    again = tp.benchmark(resume=done.run)
    assert again.table.command == done.table.command
    assert [row.error for row in again.table.rows] == [None, None]
    assert again.table.rows[0] == good
    assert fitted == ["undefended"]
    asked.write_text(asked.read_text().replace('"seed": 0', '"seed": 1'))
    assert tp.benchmark(resume=done.run).table.seed == 1
    assert fitted == ["undefended"] * 2  # rows of other settings are not kept


def test_wrong_calls_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="madry"):
        tp.benchmark(systems="madri", runs=tmp_path)
    with pytest.raises(UnknownNameError, match="budget"):
        tp.benchmark(budget="5m", runs=tmp_path)
    with pytest.raises(UsageError, match="give each once"):
        tp.benchmark(systems="madry,madry", runs=tmp_path)
    with pytest.raises(UsageError, match="400 samples of digits/test, which has 359"):
        tp.benchmark(data="digits", samples=400, runs=tmp_path)
    for threat in ("l0:10", "patch:0.05"):
        with pytest.raises(UsageError, match=f"threat {threat}: systems .* linf, l2 or l1"):
            tp.benchmark(threat=threat, data="digits", runs=tmp_path)
    with pytest.raises(UsageError, match="linf:0 allows no change: give an eps above 0"):
        tp.benchmark(threat="linf:0", data="digits", runs=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match="no benchmark to resume"):
        tp.benchmark(resume=tmp_path)
    done = temper("benchmark", "--resume", tmp_path, "--seed", "1", folder=tmp_path)
    assert done.code == 2
    assert "continues with the settings" in done.err


@pytest.mark.usefixtures("tiny")
def test_training_time_counts_the_undefended_network_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Setting, "undefended_seconds", property(lambda _self: 1000.0))
    names = ["input-manipulation", "madry"]
    done = tp.benchmark(
        systems=names, data="digits", threat="linf:0.5", samples=2, name="b", runs=tmp_path
    )
    behind, alone = (row.seconds for row in done.table.rows)
    assert behind is not None
    assert 1000 <= behind < 1100
    assert alone is not None
    assert alone < 1000


@pytest.mark.usefixtures("tiny")
def test_detectors_are_measured_on_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "SAMPLES", 200)
    monkeypatch.setattr(watched, "LEAST", 80)
    names = ["attacker-defender", "ml-filter"]
    done = tp.benchmark(
        systems=names, data="digits", threat="linf:0.3", samples=20, name="b", runs=tmp_path
    )
    routed, filtered = (row.detector for row in done.table.rows)
    assert routed is not None
    assert filtered is not None
    assert routed.confusion is not None
    assert routed.accuracy_end_to_end is None
    assert [sum(counts) for counts in routed.confusion.counts] == [20, 20, 20, 20]
    known = ["all known attacks", "fgsm", "bim-2", "pgd-2"]
    assert [one.attack for one in routed.attacks] == [*known, "adaptive attacker"]
    known = ["all known attacks", "fgsm", "bim-40", "pgd-40"]
    unknown = ["cw-linf-40", "deepfool-50", "adaptive attacker"]
    assert [one.attack for one in filtered.attacks] == [*known, *unknown]
    assert [one.known for one in filtered.attacks] == [True] * 4 + [False] * 3
    assert [row.attack for row in filtered.left_out] == ["none", *known[1:]]
    assert [row.eps for row in filtered.by_eps] == [0.01, 0.05, 0.1, 0.2, 0.3]
    assert filtered.by_eps[-1].detected["fgsm"] == filtered.attacks[1].detected
    assert filtered.accuracy_end_to_end is not None
    assert filtered.accuracy_end_to_end.n == 40
    assert "detectors without one attack were fitted to 80" in done.table.rows[1].shortened[-1]
    page = done.page.read_text()
    assert "Detector of ML-Filter" in page
    again = SystemTable.model_validate_json((done.run / "benchmark.json").read_text())
    assert again == done.table


def test_recorded_tables_are_shown_without_computing(tmp_path: Path) -> None:
    done = temper("benchmark", "--recorded", "--name", "r", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert [row["system"] for row in rows] == list(SYSTEMS)
    assert all(row["error"] is None and row["adaptive"] <= row["oblivious"] for row in rows)
    ours = next(row for row in rows if row["system"] == "ours")
    assert all(row["adaptive"] < ours["adaptive"] for row in rows if row is not ours)
    assert "Systems under attack" in (tmp_path / "runs/r/benchmark.html").read_text()
    table = SystemTable.model_validate_json((tmp_path / "runs/r/benchmark.json").read_text())
    assert (table.data, table.threat) == ("mnist", "linf:0.3")
    one = temper(
        "benchmark", "--recorded", "--systems", "madry", "--budget", "10m", folder=tmp_path
    )
    assert "madry" in one.out
    assert "undefended" not in one.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--seed", "1"), "--seed with --recorded, which computes nothing"),
        (("--data", "digits"), "--data with --recorded"),
        (("--systems", "madri"), "did you mean madry"),
    ],
)
def test_recorded_tables_refuse_what_would_compute(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    done = temper("benchmark", "--recorded", *words, folder=tmp_path)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("tiny")
def test_a_benchmark_of_another_version_is_not_continued(tmp_path: Path) -> None:
    done = tp.benchmark(
        systems="undefended", data="digits", threat="linf:0.1", samples=2, name="b", runs=tmp_path
    )
    place = done.run / "checkpoint" / "run.json"
    asked = json.loads(place.read_text())
    place.write_text(json.dumps({**asked, "tempering": "0.0.1"}))
    with pytest.raises(RunError, match=r"was begun by tempering 0.0.1, and this is"):
        tp.benchmark(resume=done.run)
    del asked["tempering"]
    place.write_text(json.dumps(asked))
    with pytest.raises(RunError, match="was begun by an earlier version"):
        tp.benchmark(resume=done.run)
