"""Two models on the same samples: `--compare`, `temper compare`, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tempering as tp
from tempering.app.compare import attack_description
from tempering.core.comparisons import Comparison
from tempering.core.errors import RunError, UsageError
from tempering.core.records import load_records
from tempering.report.agreement import disagreements
from tempering.report.reading import read_run
from tests.app.running import temper
from tests.app.test_evaluate import MINE, trained

COMMON = ("evaluate", "file.py:build", "--data", "digits", "--json", "--threat", "linf:0.1")
FIRST = (*COMMON, "--weights", "x.pth")
SECOND = (*COMMON, "--weights", "y.pth", "--samples", "60")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a weaker one beside it, and the run of the weaker one."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    model = trained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            draw = torch.Generator().manual_seed(parameter.numel())
            parameter += 0.15 * torch.randn(parameter.shape, generator=draw)
    torch.save(model.state_dict(), folder / "y.pth")
    done = temper(*SECOND, "--name", "other", folder=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, float]]:
    words = ("--samples", "60", "--compare", "runs/other", "--name", "mine")
    done = temper(*FIRST, *words, folder=folder)
    assert done.code == 0, done.err
    block: dict[str, dict[str, float]] = done.json()["against"]
    return block


def verdicts(folder: Path, run: str) -> dict[str, np.ndarray]:
    with np.load(folder / "runs" / run / "verdicts.npz", allow_pickle=False) as file:
        return dict(file)


def test_counts_are_those_of_both_files_of_verdicts(
    found: dict[str, dict[str, float]], folder: Path
) -> None:
    mine, other = verdicts(folder, "mine"), verdicts(folder, "other")
    for quantity in ("clean", "robust", "certified"):
        one, two = mine[quantity], other[quantity]
        said = found[quantity]
        counts = [said[name] for name in ("both", "first_only", "second_only", "neither")]
        expected = [(one & two), (one & ~two), (~one & two), (~one & ~two)]
        assert counts == [int(each.sum()) for each in expected], quantity
        assert said["n"] == 60
        assert said["difference"] == pytest.approx((int(one.sum()) - int(two.sum())) / 60)
    assert found["clean"]["first_only"] > 0
    assert found["robust"]["p_value"] < 1
    assert found["warnings"] == []


def test_records_hold_counts_and_the_page_says_it(
    found: dict[str, dict[str, float]], folder: Path
) -> None:
    run = folder / "runs" / "mine"
    records = [one for one in load_records(run / "records.jsonl") if isinstance(one, Comparison)]
    assert [one.quantity for one in records] == ["clean", "robust", "certified"]
    for one in records:
        assert one.paired.p_value == found[one.quantity]["p_value"]
        assert list(one.paired.interval) == found[one.quantity]["interval"]
        assert (one.first.run, one.second.run) == ("mine", "other")
    assert "Compared with other" in (run / "report.html").read_text(encoding="utf-8")


def test_finished_runs_are_compared_without_evaluating(
    found: dict[str, dict[str, float]], folder: Path
) -> None:
    done = temper("compare", "runs/mine", "runs/other", "--json", folder=folder)
    assert done.code == 0, done.err
    assert done.json() == found
    told = temper("compare", "runs/other", "runs/mine", folder=folder)
    assert "compared with    file.py:build (run mine), the second model, on the same 60" in told.out
    assert f"only the second: {int(found['robust']['first_only'])}, of 60" in told.out
    swapped = tp.compare_runs(folder / "runs" / "other", folder / "runs" / "mine")
    assert swapped.robust.difference == -found["robust"]["difference"]


def test_in_python_too_and_unequal_numbers_are_said(folder: Path) -> None:
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    data = tp.data.load("digits")
    other = folder / "runs" / "other"
    record = tp.evaluate(model, data, tp.Linf(0.1), samples=40, compare=other)
    assert record.against is not None
    assert record.against.robust.n == 40
    (warning,) = record.against.warnings
    assert warning.startswith("One model was evaluated on 40 samples and the other on 60")
    theirs = verdicts(folder, "other")["robust"][:40]
    robust = record.against.robust
    assert robust.both + robust.second_only == int(theirs.sum())
    assert robust.both + robust.first_only == record.robust_correct


def test_other_attacks_are_named(folder: Path) -> None:
    words = ("--samples", "60", "--attack", "fgsm", "--compare", "runs/other", "--name", "fgsm")
    done = temper(*FIRST, *words, folder=folder)
    assert done.code == 0, done.err
    block = done.json()["against"]
    assert block["certified"]["n"] == 60
    (warning,) = block["warnings"]
    assert "(attacks fgsm, access white; protocol fast, access white)" in warning
    page = (folder / "runs" / "fgsm" / "report.md").read_text(encoding="utf-8")
    assert "compare attacks as well as models" in page


def test_gray_box_attackers_with_other_models_are_told_apart(folder: Path) -> None:
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    data, said = tp.data.load("digits").test, []
    for seed in (0, 0, 1):
        own = tp.models.build("strided_cnn", (1, 8, 8), 10, seed=seed, adversarial_class=False)
        found = tp.evaluate(
            model, data, tp.Linf(0.1), access="gray", surrogate=own, samples=6, seconds=60
        )
        assert found.surrogate is None  # it was given, not trained
        said.append(attack_description(found))
    assert said[0] == said[1] != said[2]
    white = tp.evaluate(model, data, tp.Linf(0.1), samples=6, seconds=60)
    assert white.surrogate_weights is None
    assert "surrogate" not in attack_description(white)


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
def test_a_run_that_judged_a_model_stands_for_that_model(folder: Path) -> None:
    words = ("--data", "digits", "--threat", "linf:0.1", "--samples", "6", "--name", "again")
    done = temper("evaluate", "runs/other", *words, folder=folder)
    assert done.code == 0, done.err


class Unasked(nn.Module):
    """A model that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.asked = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x)
        answers: torch.Tensor = self.net(x)
        return answers


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threat": tp.Linf(0.2)}, r"threat is linf:0\.2 here and linf:0\.1 in other"),
        ({"seed": 1}, r"hash of 60 stratified samples is [0-9a-f]{16} here and [0-9a-f]{16} in"),
        ({"split": "paper"}, "split is paper here and stratified in other"),
        ({"short": True}, "has 50 samples, and other .* was evaluated on 60"),
    ],
)
def test_what_differs_is_named_before_anything_is_run(
    folder: Path, change: dict[str, object], told: str
) -> None:
    model, other = Unasked(), folder / "runs" / "other"
    seed, split = int(str(change.get("seed", 0))), str(change.get("split", "official"))
    data = tp.data.load("digits", split, seed)
    given = data.test.first(50) if change.get("short") else data
    threat = change.get("threat", tp.Linf(0.1))
    with pytest.raises(UsageError, match=told):
        tp.evaluate(model, given, threat, samples=40, compare=other)  # type: ignore[arg-type]
    assert model.asked <= 33, "only checks of its outputs ask it"


def test_threats_that_differ_are_shown_as_given_with_the_names_of_both_runs(folder: Path) -> None:
    ratio = [word if word != "linf:0.1" else "linf:20/255" for word in FIRST]
    few = ("--samples", "6", "--attack", "fgsm", "--name")
    assert temper(*ratio, *few, "ratio", folder=folder).code == 0
    assert temper(*FIRST, *few, "small", folder=folder).code == 0
    with pytest.raises(UsageError, match="threat is ") as caught:
        tp.compare_runs(folder / "runs" / "ratio", folder / "runs" / "small")
    told = "threat is linf:20/255 (eps 0.07843) in ratio (digits) and linf:0.1 in small (digits): "
    assert str(caught.value).startswith(told)


def test_a_wrong_run_is_refused_and_leaves_no_folder(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ("--samples", "40", "--name", "none", "--compare")
    refused = temper(*FIRST, *words, empty, folder=folder)
    assert refused.code == 1
    assert "has no verdicts.npz: give the folder of a finished run of `temper" in refused.err
    assert not (folder / "runs" / "none").exists()
    altered = tmp_path / "altered"
    shutil.copytree(folder / "runs" / "other", altered)
    summary = json.loads((altered / "summary.json").read_text(encoding="utf-8"))
    (altered / "summary.json").write_text(
        json.dumps(summary | {"clean_correct": summary["clean_correct"] + 1}), encoding="utf-8"
    )
    with pytest.raises(RunError, match="give an unmodified run"):
        tp.compare_runs(altered, altered)
    rows = verdicts(folder, "other") | {"index": np.arange(60)[::-1]}
    np.savez_compressed(altered / "verdicts.npz", **rows)
    (altered / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(RunError, match="are not the first 60"):
        tp.compare_runs(altered, altered)
    (altered / "verdicts.npz").write_bytes(b"PK nothing")
    with pytest.raises(RunError, match=r"verdicts\.npz cannot be read"):
        tp.compare_runs(altered, altered)


def altered(arrays: dict[str, np.ndarray], name: str, value: np.ndarray | None) -> None:
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("clean", lambda _: None, "verdicts.npz cannot be read: it has no clean"),
        ("clean", lambda v: v.astype(int), "clean has type int64 and shape"),
        ("robust", lambda v: v[:, None], r"robust has type bool and shape \(60, 1\)"),
        ("index", lambda v: v.astype(str), "index has type"),
        ("certified", lambda v: v[:7], r"certified has type bool and shape \(7,\)"),
        ("robust", lambda v: np.ones_like(v), "is robust where it is not clean"),
        ("robust", lambda v: np.zeros_like(v), "certified where it is not robust|holds for"),
        ("y", lambda v: v[:5], r"y has type int64 and shape \(5,\)"),
        ("predicted", lambda v: v * 0 - 77, "predicted of sample 0 is -77, and 0 to 9 is possible"),
        ("id", lambda v: np.full(len(v), np.nan), "id has type float64"),
        ("id", lambda v: v[:1].repeat(len(v)), "id has 1 different values of 60"),
        ("distance", lambda v: v * np.nan, "distance of sample 0 is nan"),
        ("clean_predicted", lambda v: (v + 1) % 10, "clean_predicted is y for"),
        ("broken_by", lambda v: v[::-1], "broken_by names an attack for|is robust"),
    ],
)
def test_altered_verdicts_are_named_in_one_line(
    folder: Path, tmp_path: Path, name: str, change: Any, message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "runs" / "other", copy)
    arrays = verdicts(folder, "other")
    altered(arrays, name, change(arrays[name]))
    np.savez(copy / "verdicts.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=message) as caught:
        tp.compare_runs(folder / "runs" / "other", copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["verdicts.npz", "records.jsonl", "summary.json"])
def test_a_file_of_a_compared_run_that_ends_early_is_named(
    folder: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "runs" / "other", copy)
    (copy / name).write_bytes((copy / name).read_bytes()[:-40])
    with pytest.raises(RunError, match=name) as caught:
        tp.compare_runs(folder / "runs" / "other", copy)
    assert "\n" not in str(caught.value)


def test_runs_as_they_were_written_agree_with_themselves(
    found: dict[str, dict[str, float]], folder: Path
) -> None:
    assert found
    for name in ("mine", "other"):
        assert disagreements(read_run(folder / "runs" / name)) == []
