"""What `temper evaluate` and `temper harden` print at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tempering.core.intervals import wilson
from tests.app.conftest import Hardened
from tests.app.running import temper
from tests.app.test_evaluate import MINE, trained

WORDS = ("evaluate", "file.py:build", "--weights", "x.pth", "--data", "digits", "--samples", "30")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    return folder


def percent(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"


def test_evaluate_prints_a_table_of_attacks_and_a_line_for_each_access(folder: Path) -> None:
    words = ("--threat", "linf:0.1", "--quick", "--access", "all", "--surrogate", "file.py:build")
    told = temper(*WORDS, *words, "--name", "all", folder=folder)
    assert told.code == 0, told.err
    found = json.loads((folder / "runs" / "all" / "summary.json").read_text(encoding="utf-8"))
    assert re.search(r"attack, on 30 test images +survivors +passes +time", told.out)
    for name, stage in found["by_attack"].items():
        passes = stage["passes"]["forward"] + stage["passes"]["backward"]
        row = rf"(?m)^{re.escape(name)} +{stage['survivors']} +{passes:,} +[\d.]+ s$"
        assert re.search(row, told.out), told.out
    assert list(found["by_access"]) == ["white", "gray", "black"]
    for access, count in found["by_access"].items():
        line = f"{access}-box"
        assert f"  {line:<14} at most {percent(count['hits'], count['n'])}" in told.out
    least = min(count["hits"] for count in found["by_access"].values())
    assert found["robust_correct"] <= least < found["clean_correct"]


def test_attacks_of_ones_own_have_an_accuracy_of_their_own(folder: Path) -> None:
    words = (*WORDS, "--threat", "linf:8/255", "--attack", "fgsm", "--attack", "pgd:steps=3")
    told = temper(*words, folder=folder)
    assert told.code == 0, told.err
    assert re.search(r"alone +survivors +passes +time", told.out)
    assert re.search(r"(?m)^pgd-3 +[\d.]+ % +\d+ +[\d,]+ +[\d.]+ s$", told.out)
    assert "on digits, linf:8/255 (eps 0.03137), seed 0" in told.out
    assert "-box  " not in told.out


def test_a_ratio_is_shown_in_record_and_report_and_compares_equal(folder: Path) -> None:
    more = ("--attack", "fgsm", "--json")
    found = temper(*WORDS, "--threat", "linf:8/255", *more, "--name", "ratio", folder=folder)
    assert found.code == 0, found.err
    assert found.json()["threat"] == "linf:8/255"
    page = (folder / "runs" / "ratio" / "report.md").read_text(encoding="utf-8")
    assert "linf:8/255" in page
    assert "at most 8/255 (0.03137)" in page
    number = ("--threat", f"linf:{8 / 255}", "--compare", "runs/ratio", "--name", "number")
    other = temper(*WORDS, *number, *more, folder=folder)
    assert other.code == 0, other.err
    assert temper("compare", "runs/ratio", "runs/number", folder=folder).code == 0


def test_harden_prints_both_models_and_json_names_the_run(
    hardened: Hardened, tmp_path: Path
) -> None:
    found = hardened.done.json()
    assert found["run"] == "runs/tiny"
    both = found["hardening"]
    assert both["clean_after"]["hits"] == found["clean_correct"]
    assert both["robust_after"]["hits"] >= found["robust_correct"]
    for name, attack in found["attacks"].items():
        assert both["robust_before"]["hits"] <= 20 * attack["before"] + 1e-9, name
    few = ("evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.surrogate=false")
    sets = [word for one in few for word in ("--set", one)]
    recipe = Path(__file__).parents[1] / "tiny.toml"
    told = temper("harden", "--recipe", recipe, *sets, folder=tmp_path)
    assert told.code == 0, told.err
    assert re.search(r"same images and attacks +undefended +hardened", told.out)
    assert max(map(len, told.out.splitlines()[1:4])) <= 80
    counts = [both[key] for key in ("clean_before", "clean_after")]
    cells = [
        f"{100 * one['hits'] / one['n']:.1f} % "
        f"[{', '.join(f'{100 * bound:.1f}' for bound in wilson(one['hits'], one['n']))}]"
        for one in counts
    ]
    assert re.search(r"(?m)^clean accuracy +" + " +".join(map(re.escape, cells)) + "$", told.out)


def test_why_nothing_is_certified_is_said_in_short(folder: Path) -> None:
    told = temper(*WORDS, "--threat", "linf:0.45", "--quick", "--name", "none", folder=folder)
    assert told.code == 0, told.err
    (line,) = [line for line in told.out.splitlines() if line.startswith("not certified")]
    assert re.match(r"not certified    interval: 0 of \d+; crown-ibp: 0 of \d+", line), line
    assert "ms" not in line
