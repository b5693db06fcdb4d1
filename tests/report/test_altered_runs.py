"""Runs that were altered: a line that names file and key, or a statement in the report."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tempering.core.errors import RunError
from tempering.report.agreement import disagreements
from tempering.report.reading import read_run
from tempering.report.run_page import render
from tests.app.running import temper
from tests.report import evaluated_run as evaluated
from tests.report import synthetic_run as made

N = evaluated.N
DELETED = object()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose files agree."""
    summary = evaluated.assessment(per_class=evaluated.classes())
    made.write(tmp_path, evaluated.records(), summary, made.pictures())
    hits = {
        "clean": evaluated.CLEAN,
        "robust": evaluated.ROBUST,
        "certified": evaluated.CERTIFIED,
    }
    columns = {name: np.arange(N) >= N - count for name, count in hits.items()}
    np.savez(tmp_path / "verdicts.npz", **columns)  # type: ignore[arg-type]
    return tmp_path


def changed(document: Any, keys: Sequence[str | int], value: object) -> Any:
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    if value is DELETED:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return document


def change_summary(run: Path, keys: Sequence[str | int], value: object) -> None:
    path = run / "summary.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), keys, value)))


def change_record(run: Path, kind: str, keys: Sequence[str | int], value: object) -> int:
    """Change the last record of a kind, and return its line."""
    path = run / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    number = max(at for at, line in enumerate(lines) if line["kind"] == kind)
    lines[number] = changed(lines[number], keys, value)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return number + 1


def test_a_run_as_it_was_written_agrees_with_itself(run: Path) -> None:
    assert disagreements(read_run(run)) == []
    assert "do not agree" not in render(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["n"], "many", "n: Input should be a valid integer"),
        (["n"], -1, "n: Input should be greater than or equal to 0"),
        (["clean_correct"], DELETED, "clean_correct: Field required"),
        (["clean_correct"], -3, "clean_correct: Input should be greater"),
        (["clean_correct"], N + 1, f"clean_correct is {N + 1} and n {N}: it cannot be more"),
        (["robust_correct"], 999, "robust_correct is 999 and clean_correct 991"),
        (["robust_accuracy", "upper"], None, "robust_accuracy.upper: Input should be a valid"),
        (["passes", "forward"], 10**30, "passes: Value error, forward is a number of more than"),
        (["per_class", "classes", 3, "robust", "hits"], 5000, "hits cannot exceed n"),
        (["flags"], "none", "flags: Input should be a valid array"),
    ],
)
def test_a_summary_with_an_impossible_value_is_refused_with_its_key(
    run: Path, keys: list[str | int], value: object, message: str
) -> None:
    change_summary(run, keys, value)
    with pytest.raises(RunError) as caught:
        render(run)
    assert "summary.json" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "keys", "value", "message"),
    [
        ("measurement", ["robust", "hits"], -1, "robust.hits: Input should be greater"),
        ("measurement", ["robust", "hits"], 5000, "hits 5000 of n 100: hits cannot exceed n"),
        ("measurement", ["n"], DELETED, "n: Field required"),
        ("measurement", ["eps"], "large", "eps: Input should be a valid number"),
        ("measurement", ["drop"], float("nan"), "drop: Input should be a finite number"),
        ("measurement", ["cost", "forward"], 10**400, "cost: Value error, forward is a number"),
        ("proof", ["certified"], 3, "certified: Input should be a valid dictionary"),
        ("per-class", ["confusions", 0, "predicted"], 11, "there are 10 classes and 11 outputs"),
        ("comparison", ["both"], -1, "both: Input should be greater"),
        ("provenance", ["recipe"], [], "recipe: Input should be a valid dictionary"),
        ("measurement", ["kind"], "guess", "does not match any of the expected tags"),
    ],
)
def test_a_record_with_an_impossible_value_is_refused_with_line_and_key(
    run: Path, kind: str, keys: list[str | int], value: object, message: str
) -> None:
    line = change_record(run, kind, keys, value)
    with pytest.raises(RunError) as caught:
        render(run)
    assert f"records.jsonl line {line} is not a record: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["records.jsonl", "summary.json", "gallery.npz", "verdicts.npz"])
def test_a_file_that_ends_early_is_named(run: Path, name: str) -> None:
    path = run / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=name) as caught:
        render(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (["clean_correct"], 992, "clean_accuracy is 0.991 and clean_correct 992 of n 1000"),
        (["robust_correct"], 701, "robust_accuracy.upper is 0.702 and robust_correct 701"),
        (["certified_correct"], 0, "robust_accuracy.lower is 0.61 and certified_correct 0"),
        (["robust_accuracy", "upper"], 0.9, "robust_accuracy.upper is 0.9, and records.jsonl has"),
        (["robust_accuracy", "lower"], 0.9, "robust_accuracy.lower is 0.9 and its upper 0.702"),
        (["clean_accuracy"], 1.5, "clean_accuracy is 1.5, and 0 to 1 is possible"),
        (["interval"], [0.1, 0.2], "interval is not that of robust_correct 702 of n 1000"),
        (["n"], 1001, "n is 1001, and records.jsonl has clean_accuracy on 1000"),
        (["threat"], "linf:0.1", "threat is linf:0.1, and records.jsonl has linf:0.3"),
        (["by_attack", "fgsm", "survivors"], 5000, "by_attack.fgsm.survivors is 5000"),
        (["per_class", "classes", 3, "robust", "hits"], 1, "classes count (1000, 991, "),
    ],
)
def test_a_summary_that_contradicts_the_records_is_told(
    run: Path, keys: list[str | int], value: object, told: str
) -> None:
    change_summary(run, keys, value)
    found = disagreements(read_run(run))
    assert any(told in line and line.startswith("summary.json") for line in found), found
    page = render(run).read_text(encoding="utf-8")
    assert "The files of this run do not agree with each other" in page


@pytest.mark.parametrize(
    ("kind", "keys", "value", "told"),
    [
        ("measurement", ["n"], 99, "robust.n is 100 and n 99"),
        ("measurement", ["drop"], 7.0, "drop is 7, and 0 to 1 is possible"),
        ("measurement", ["eps"], -0.1, "eps is -0.1, and at least 0 is possible"),
        ("per-class", ["classes", 2, "robust", "hits"], 0, "confusions of class 2 count"),
        ("per-class", ["classes", 2, "interval"], [0.0, 1.0], "classes.2.interval is not that"),
        ("comparison", ["both"], 0, "neither count 500 of 1000"),
    ],
)
def test_a_record_that_contradicts_itself_is_told(
    run: Path, kind: str, keys: list[str | int], value: object, told: str
) -> None:
    line = change_record(run, kind, keys, value)
    found = disagreements(read_run(run))
    assert any(told in one and f"records.jsonl line {line}: " in one for one in found), found
    assert "do not agree" in render(run).read_text(encoding="utf-8")


def test_verdicts_that_contradict_the_summary_are_told_on_the_command_line_too(run: Path) -> None:
    with np.load(run / "verdicts.npz") as file:
        arrays = dict(file)
    arrays["robust"][-1] = False
    arrays["certified"] = arrays["certified"][:5]
    np.savez(run / "verdicts.npz", **arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = temper("report", run, folder=run)
    assert done.code == 0
    assert "verdicts.npz: robust holds for 701, and summary.json has 702" in done.err
    assert "verdicts.npz: certified is not 1000 values true or false" in done.err
    assert done.err.startswith("warning: ")


def test_a_line_of_endless_brackets_is_named(run: Path) -> None:
    path = run / "records.jsonl"
    path.write_text(path.read_text() + "[" * 100_000 + "\n")
    with pytest.raises(RunError, match=r"records.jsonl line \d+ is not a record"):
        render(run)
