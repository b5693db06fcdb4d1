"""`temper list runs`: what each run was and found; damaged runs are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.app.conftest import Hardened
from tests.app.running import temper


@pytest.fixture
def folder(hardened: Hardened, tmp_path: Path) -> Path:
    for name in ("old", "new", "no-summary", "cut-records", "cut-summary", "begun", "odd\nname"):
        shutil.copytree(hardened.run, tmp_path / "runs" / name)
    (tmp_path / "runs" / "latest").symlink_to("new")
    runs = tmp_path / "runs"
    for name, year in (("old", "2020"), ("new", "2030")):
        records = runs / name / "records.jsonl"
        first, _, rest = records.read_text(encoding="utf-8").partition("\n")
        made = json.loads(first)
        made["created"] = f"{year}-01-02T03:04:05+00:00"
        records.write_text(f"{json.dumps(made)}\n{rest}", encoding="utf-8")
    (runs / "no-summary" / "summary.json").unlink()
    shutil.rmtree(runs / "no-summary" / "checkpoint")
    (runs / "cut-records" / "records.jsonl").write_text('{"kind": "prov', encoding="utf-8")
    (runs / "cut-summary" / "summary.json").write_text("{", encoding="utf-8")
    (runs / "begun" / "summary.json").unlink()
    shutil.rmtree(runs / "odd\nname")
    (runs / "a file").touch()
    return tmp_path


def test_runs_are_listed_newest_first_and_damaged_ones_named(folder: Path) -> None:
    done = temper("list", "runs", "--json", folder=folder)
    assert done.code == 0, done.err
    rows = done.json()
    names = [row["name"] for row in rows]
    assert names[0] == "runs/new"
    assert names[-1] == "runs/old"
    assert len(names) == 6
    by_name = {row["name"].removeprefix("runs/"): row for row in rows}
    new = by_name["new"]
    assert (new["status"], new["kind"], new["data"]) == ("finished", "harden", "digits")
    assert new["command"].startswith("temper harden --recipe")
    assert new["threat"] == "linf:0.3"
    assert 0 <= new["clean_accuracy"] <= 1
    assert new["date"] == "2030-01-02T03:04:05+00:00"
    assert by_name["begun"]["status"] == "unfinished"
    for name in ("no-summary", "cut-records", "cut-summary"):
        assert by_name[name]["status"] == "damaged"
    assert "summary.json is missing" in by_name["no-summary"]["summary"]
    assert "records.jsonl cannot be read" in by_name["cut-records"]["summary"]
    assert "summary.json cannot be read" in by_name["cut-summary"]["summary"]


def test_the_list_is_for_people_too(folder: Path) -> None:
    done = temper("list", "runs", folder=folder)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 100
    for words in ("harden: strided_cnn on digits, linf:0.3", "damaged: ", "unfinished: go on with"):
        assert words in done.out
    assert "date 2030-01-02" in done.out


def test_no_runs_are_said_in_a_sentence(tmp_path: Path) -> None:
    assert temper("list", "runs", "--json", folder=tmp_path).json() == []
    done = temper("list", "runs", folder=tmp_path)
    assert done.out == "no runs in runs: temper harden and temper evaluate make some\n"
    assert list(tmp_path.iterdir()) == []
