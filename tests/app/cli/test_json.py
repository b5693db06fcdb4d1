"""`--json`: stdout is the result and nothing else, for machines to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tempering.core.records import Assessment, load_records
from tempering.report.agreement import disagreements
from tempering.report.reading import read_run
from tests.app.conftest import Hardened
from tests.app.running import TINY, temper

PROMISED = {
    "data", "threat", "n", "clean_accuracy", "robust_accuracy", "rho", "stop_reason",
    "attacks", "flags", "seed", "seconds",
}  # fmt: skip


def test_harden_prints_its_summary(hardened: Hardened) -> None:
    found = hardened.done.json()
    assert found.keys() >= PROMISED
    assert (found["data"], found["threat"], found["n"], found["seed"]) == (
        "digits",
        "linf:0.3",
        20,
        1,
    )
    assert set(found["attacks"]) == {"fgsm", "pgd-2"}
    for attack in found["attacks"].values():
        assert attack.keys() >= {"before", "after", "stale", "graybox"}
        assert all(0 <= attack[key] <= 1 for key in ("before", "after", "stale", "graybox"))
    bounds = found["robust_accuracy"]
    assert 0 <= bounds["lower"] <= bounds["upper"] <= found["clean_accuracy"] <= 1
    assert bounds["upper"] <= min(attack["after"] for attack in found["attacks"].values())
    assert isinstance(found["rho"], float)
    assert found["stop_reason"].startswith("MaxIterations(20)")
    assert isinstance(found["flags"], list)
    assert found["seconds"] > 0


def test_the_summary_is_also_a_file_of_the_run_and_of_the_latest_one(hardened: Hardened) -> None:
    text = (hardened.run / "summary.json").read_text(encoding="utf-8")
    assert {"run": "runs/tiny", **json.loads(text)} == hardened.done.json()
    assert Assessment.model_validate_json(text)
    latest = hardened.folder / "runs" / "latest"
    assert latest.is_symlink()
    assert (latest / "summary.json").is_file()
    assert not latest.readlink().is_absolute()


def test_a_run_folder_holds_all_evidence(hardened: Hardened) -> None:
    names = {entry.name for entry in hardened.run.iterdir()}
    assert names == {
        "model.safetensors", "manifest.json", "records.jsonl", "summary.json", "report.html",
        "report.md", "gallery.npz", "verdicts.npz", "checkpoint",
    }  # fmt: skip
    kinds = {record.kind for record in load_records(hardened.run / "records.jsonl")}
    assert kinds >= {"provenance", "epoch", "round", "stop", "measurement", "minimum-norm"}


def test_a_hardened_run_agrees_with_itself_and_has_counts_of_each_class(
    hardened: Hardened,
) -> None:
    assert disagreements(read_run(hardened.run)) == []
    found = hardened.done.json()
    classes = found["per_class"]["classes"]
    assert sum(one["robust"]["hits"] for one in classes) == found["robust_correct"]
    page = (hardened.run / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix under attack" in page


def test_progress_goes_to_stderr(hardened: Hardened) -> None:
    assert "training hardened: done in" in hardened.done.err
    assert "hardened: pgd-2: done in" in hardened.done.err


def test_evaluate_prints_its_summary_and_becomes_the_latest(
    hardened: Hardened, tmp_path: Path
) -> None:
    words = ("evaluate", hardened.run, "--samples", "20", "--attack", "pgd:steps=2", "--json")
    done = temper(*words, folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert found.keys() >= PROMISED
    assert found["attacks"].keys() == {"pgd-2"}
    before = hardened.done.json()
    assert found["clean_accuracy"] == before["clean_accuracy"]
    assert found["attacks"]["pgd-2"]["after"] == before["attacks"]["pgd-2"]["after"]
    latest = tmp_path / "runs" / "latest"
    first = latest.resolve()
    summary = json.loads((latest / "summary.json").read_text(encoding="utf-8"))
    assert {"run": f"runs/{first.name}", **summary} == found
    assert (latest / "report.html").is_file()
    again = temper(*words, "--name", "second", folder=tmp_path)
    assert again.code == 0, again.err
    assert latest.resolve() == tmp_path / "runs" / "second"
    assert first.is_dir()


def test_a_saved_file_is_a_model_too(hardened: Hardened, tmp_path: Path) -> None:
    file = hardened.run / "model.safetensors"
    words = ("--samples", "20", "--attack", "fgsm", "--json")
    done = temper("evaluate", file, *words, folder=tmp_path)
    assert done.code == 0, done.err
    assert done.json()["clean_accuracy"] == hardened.done.json()["clean_accuracy"]


def test_data_inspect_prints_what_it_found(tmp_path: Path) -> None:
    done = temper("data", "inspect", "digits", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert found["address"] == "digits"
    assert sum(part["n"] for part in found["parts"].values()) == 1797
    assert found["picture"] is None
    words = ("data", "inspect", "digits", "--json", "--picture", "digits.png")
    found = temper(*words, folder=tmp_path).json()
    assert (tmp_path / found["picture"]).is_file()


def test_data_inspect_speaks_to_people(tmp_path: Path) -> None:
    done = temper("data", "inspect", "digits", "--picture", "a/b.png", folder=tmp_path)
    assert done.code == 0, done.err
    for words in (
        "images 1 x 8 x 8, 10 classes",
        "validation",
        "duplicates within a split",
        "b.png",
    ):
        assert words in done.out
    assert (tmp_path / "a" / "b.png").is_file()


def test_report_prints_where_it_is(hardened: Hardened) -> None:
    page = hardened.run / "report.html"
    before = page.read_bytes()
    page.unlink()
    done = temper("report", "runs/tiny", "--json", folder=hardened.folder)
    assert done.code == 0, done.err
    assert done.json() == {"report": "runs/tiny/report.html", "markdown": "runs/tiny/report.md"}
    assert page.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("attacks", "pgd"),
        ("defenses", "squeeze"),
        ("defenses", "protection_layer"),
        ("models", "strided_cnn"),
        ("models", "timm:NAME"),
        ("models", "hf:ORG/NAME"),
        ("data", "npz"),
        ("objectives", "trades"),
        ("recipes", "paper"),
        ("zoo", "mnist-linf-0.1"),
    ],
)
def test_list_prints_a_registry(kind: str, name: str, tmp_path: Path) -> None:
    done = temper("list", kind, "--json", folder=tmp_path)
    rows = done.json()
    assert done.code == 0
    assert done.err == ""
    assert name in [row["name"] for row in rows]
    assert all(row["summary"] for row in rows)
    told = temper("list", kind, folder=tmp_path)
    lines = told.out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == [row["name"] for row in rows]
    assert max(map(len, lines)) <= 100


def test_without_json_harden_speaks_to_people(tmp_path: Path) -> None:
    few = ("evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.surrogate=false")
    sets = [word for one in few for word in ("--set", one)]
    done = temper("harden", "--recipe", TINY, *sets, "--seed", "3", folder=tmp_path)
    assert done.code == 0, done.err
    for words in ("on digits, linf:0.3, seed 3", "before", "clean accuracy", "robust accuracy",
                  "gain (rho)", "stopped by       MaxIterations(20)", "report.html",
                  "undefended", "hardened"):  # fmt: skip
        assert words in done.out
    (run,) = (tmp_path / "runs").glob("digits-*")
    assert f"runs/{run.name}/report.html" in done.out
