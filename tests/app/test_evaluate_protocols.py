"""`temper evaluate` by protocols: resuming, time, access, and files of verdicts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tempering as tp
from tempering.app.folder import RunFolder
from tempering.core.errors import UsageError
from tempering.evaluation import attack_samples, evaluator, examine_target, minimum_norm
from tests.app.running import ended, started, temper, wait_until
from tests.app.test_evaluate import MINE, WORDS, trained

FEW = (*WORDS, "--threat", "linf:0.1", "--samples", "4", "--protocol", "thorough")
ALL = (*WORDS, "--threat", "linf:0.1", "--samples", "120")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    return folder


@pytest.fixture(scope="module")
def fast(folder: Path) -> dict[str, object]:
    done = temper(*ALL, "--name", "fast", "--out", "files", folder=folder)
    assert done.code == 0, done.err
    found: dict[str, object] = done.json()
    return found


def test_counts_agree_with_the_files(fast: dict[str, object], folder: Path) -> None:
    with np.load(folder / "files" / "verdicts.npz", allow_pickle=False) as file:
        verdicts = dict(file)
    with np.load(folder / "files" / "adversarial.npz", allow_pickle=False) as file:
        images = dict(file)
    assert verdicts["index"].tolist() == list(range(120))
    assert int(verdicts["clean"].sum()) == fast["clean_correct"]
    assert int(verdicts["robust"].sum()) == fast["robust_correct"]
    assert int(verdicts["certified"].sum()) == fast["certified_correct"]
    broken = verdicts["clean"] & ~verdicts["robust"]
    assert (images["index"] == np.flatnonzero(broken)).all()
    assert ((verdicts["broken_by"] != "") == broken).all()
    assert "ranking" not in verdicts["broken_by"]
    assert (np.isfinite(verdicts["distance"]) == broken).all()
    assert verdicts["distance"][broken].max() <= 0.1 + 1e-6
    assert (verdicts["queries"] > 0).all()
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    with torch.no_grad():
        said = model(torch.from_numpy(images["x_adv"])).argmax(1).numpy()
    assert len(said)
    assert (said != images["y"]).all()
    assert not (verdicts["certified"] & broken).any()


def test_the_record_says_what_each_stage_left(fast: dict[str, object]) -> None:
    stages = fast["by_attack"]
    assert isinstance(stages, dict)
    survivors = [stage["survivors"] for stage in stages.values()]
    assert survivors == sorted(survivors, reverse=True)
    assert survivors[-1] == fast["robust_correct"]
    passes = fast["passes"]
    assert isinstance(passes, dict)
    for kind in ("forward", "backward"):
        assert passes[kind] >= sum(stage["passes"][kind] for stage in stages.values()) > 0
    assert fast["schedule"]


def test_the_autoattack_protocol_is_no_weaker_than_fast_by_much(
    fast: dict[str, object], folder: Path
) -> None:
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    data = tp.data.load("digits")
    found = tp.evaluate(model, data, tp.Linf(0.1), protocol="autoattack", samples=120)
    assert list(found.by_attack) == ["apgd-ce-100", "apgd-t-100", "fab-t-100", "square-5000"]
    assert isinstance(fast["robust_correct"], int)
    assert fast["robust_correct"] <= found.robust_correct + 1


def measured(run: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mtime_ns for one in (run / "checkpoint").glob("measured-*")}


def test_after_kill_nine_nothing_that_was_measured_is_measured_again(folder: Path) -> None:
    words = FEW
    run = folder / "runs" / "cut"
    with started(*words, "--name", "cut", folder=folder) as process:
        wait_until(process, lambda: len(measured(run)) > 4)
        process.kill()
        process.wait()
    before = measured(run)
    assert {f"measured-{name}.safetensors" for name in ("examination", "certificates")} <= set(
        before
    )
    took = RunFolder(run).seconds
    assert took > 0
    with started(*words, "--resume", run, folder=folder) as process:
        wait_until(process, lambda: len(measured(run)) > len(before))
        assert before.items() <= measured(run).items()
        again = ended(process)
    assert again.code == 0, again.err
    whole = temper(*words, "--name", "whole", folder=folder)
    same = (
        "robust_correct", "clean_correct", "certified_correct", "schedule", "flags", "passes",
    )  # fmt: skip
    one, other = again.json(), whole.json()
    assert [one[name] for name in same] == [other[name] for name in same]
    for name, stage in other["by_attack"].items():
        assert one["by_attack"][name]["passes"] == stage["passes"]
        assert one["by_attack"][name]["survivors"] == stage["survivors"]
    assert one["seconds"] > took
    with (
        np.load(run / "verdicts.npz", allow_pickle=False) as cut,
        np.load(run.parent / "whole" / "verdicts.npz", allow_pickle=False) as uncut,
    ):
        for name in cut.files:
            assert cut[name].tolist() == uncut[name].tolist(), name


def untimed(found: dict[str, Any]) -> dict[str, Any]:
    """A result without its folder and the time that it took, or that certificates took."""
    stages = {name: stage | {"seconds": 0} for name, stage in found["by_attack"].items()}
    return found | {"run": "", "seconds": 0, "by_attack": stages, "certification": []}


def _survivors(stages: dict[str, Any]) -> dict[str, int]:
    return {name: stage["survivors"] for name, stage in stages.items()}


def stopped(*_arguments: object, **_named: object) -> None:
    raise KeyboardInterrupt


def test_examinations_proofs_and_curve_are_made_once(
    fast: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder / "runs" / "late"
    with monkeypatch.context() as patched:
        patched.setattr(evaluator, "inspect", stopped)
        done = temper(*ALL, "--name", "late", folder=folder)
    assert done.code == 130
    assert f"go on with temper evaluate --resume {run}" in done.err

    def again(*_arguments: object, **_named: object) -> None:
        raise AssertionError("done again")

    with monkeypatch.context() as patched:
        patched.setattr(examine_target, "examine", again)
        patched.setattr(evaluator, "certify_samples", again)
        patched.setattr(evaluator, "certified_curve", again)
        patched.setattr(minimum_norm, "measure", again)
        patched.setattr(attack_samples, "judge", again)
        resumed = temper(*ALL, "--resume", run, folder=folder)
    assert resumed.code == 0, resumed.err
    rest, before = untimed(resumed.json()), untimed(fast)
    # the clock decides how many samples a certification method is tried on first
    for kind, count in before.pop("passes").items():
        assert rest["passes"][kind] == pytest.approx(count, rel=0.01), kind
    del rest["passes"]
    assert _survivors(rest.pop("by_attack")) == _survivors(before.pop("by_attack"))
    assert rest == before


def test_another_model_or_demand_is_not_gone_on_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = FEW
    run = folder / "runs" / "other"
    with monkeypatch.context() as patched:
        patched.setattr(evaluator, "run_attacks", stopped)
        assert temper(*words, "--name", "other", folder=folder).code == 130
    refused = temper(*words, "--resume", run, "--access", "black", folder=folder)
    assert refused.code == 1
    assert "was begun with access 'white', and this is 'black'" in refused.err
    state = torch.load(folder / "x.pth", weights_only=True)
    torch.save({name: 2 * value for name, value in state.items()}, folder / "y.pth")
    swapped = [word if word != "x.pth" else "y.pth" for word in words]
    refused = temper(*swapped, "--resume", run, folder=folder)
    assert refused.code == 1
    assert "was begun with weights" in refused.err
    assert measured(run)


def test_too_little_time_is_refused_and_little_time_is_kept(folder: Path) -> None:
    refused = temper(*ALL, "--time", "0.000001s", "--name", "none", folder=folder)
    assert refused.code == 2
    assert "give more time or fewer samples" in refused.err
    assert not (folder / "runs" / "none").exists()
    assert "such as 90s, 10m or 1h" in temper(*ALL, "--time", "soon", folder=folder).err
    done = temper(*ALL, "--protocol", "thorough", "--time", "1.5s", folder=folder)
    assert done.code == 0, done.err
    found = done.json()
    assert "out of time" in {flag["name"] for flag in found["flags"]}
    assert found["robust_correct"] <= found["clean_correct"]


def test_every_access_has_its_line_where_all_images_are_certified(folder: Path) -> None:
    words = ("--threat", "linf:0.0001", "--samples", "5", "--access", "all", "--no-surrogate")
    done = temper(*WORDS[:-1], *words, folder=folder)
    assert done.code == 0, done.err
    assert "no attack was needed" in done.out
    assert re.search(r"(?m)^  white-box +at most .*\n  black-box +at most ", done.out)


def test_all_kinds_of_access_in_one_record(folder: Path) -> None:
    words = (*ALL, "--access", "all")
    done = temper(*words, "--surrogate", "file.py:build", folder=folder)
    assert done.code == 0, done.err
    found = done.json()
    assert found["surrogate"] is None
    names = list(found["by_attack"])
    assert any("gray-box" in name for name in names)
    assert any("black-box" in name for name in names)
    white = [stage["survivors"] for name, stage in found["by_attack"].items() if "box" not in name]
    assert found["robust_correct"] <= white[-1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": "slow"}, "give one of quick, fast, autoattack, thorough"),
        ({"access": "grey"}, "give one of white, gray, black, all"),
    ],
)
def test_unknown_words_are_refused(folder: Path, changes: dict[str, str], told: str) -> None:
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build")
    with pytest.raises(UsageError, match=told):
        tp.evaluate(model, tp.data.load("digits"), tp.Linf(0.1), samples=5, **changes)
