"""A model and its data by address: what is not said is as the manifest says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tempering.app.attack import attack_address
from tempering.app.certify import certify_address
from tempering.app.evaluate import evaluate_address
from tempering.app.evaluation_options import EvaluationOptions
from tempering.app.load_inputs import InputAddress, take_samples
from tempering.attacks import PGD, Transfer
from tempering.core.errors import UsageError
from tempering.core.threats import L2, Linf
from tempering.data import load
from tests.app.conftest import Hardened
from tests.app.running import TINY, temper


def test_what_is_not_said_is_as_the_manifest_says(hardened: Hardened) -> None:
    opened = InputAddress(str(hardened.run)).load()
    manifest = opened.manifest
    assert manifest is not None
    assert opened.threat == Linf(0.3)
    own = load(manifest.data, manifest.split, manifest.seed)
    assert opened.splits.data_hash == own.data_hash
    # the manifest's seed splits its own data, whatever the seed of draws is
    assert InputAddress(str(hardened.run), seed=9).load().splits.data_hash == own.data_hash


def test_what_is_said_holds(hardened: Hardened) -> None:
    opened = InputAddress(str(hardened.run), data="mnist", threat="l2:2").load()
    assert opened.splits.address == "mnist"
    assert opened.threat == L2(2)


def test_the_first_samples_are_all_that_there_are_or_so_many() -> None:
    test = load("digits").test
    assert len(take_samples(test, None, "first")) == len(test) < 1000
    for subset in ("stratified", "first"):
        assert len(take_samples(test, 7, subset)) == 7
    for wrong in (0, -1, len(test) + 1):
        with pytest.raises(UsageError, match=f"{wrong} samples of .* give 1 to {len(test)}"):
            take_samples(test, wrong, "stratified")


@pytest.mark.parametrize(
    "call",
    [
        lambda address, samples=None: evaluate_address(address, EvaluationOptions(samples=samples)),
        lambda address, samples=None: certify_address(address, samples=samples),
        lambda address, samples=None: attack_address(
            address, "fgsm", Path("x.npz"), samples=samples
        ),
    ],
    ids=["evaluate", "certify", "attack"],
)
def test_all_commands_refuse_in_the_same_words(
    call: Callable[..., object], hardened: Hardened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text("from torch.nn import Flatten\n", encoding="utf-8")
    few = len(load("digits").test)
    with pytest.raises(UsageError, match=f"9999 samples of digits/test, which has {few}: give 1"):
        call(InputAddress(str(hardened.run)), samples=9999)
    with pytest.raises(UsageError, match=r"no threat for file\.py:Flatten: give"):
        call(InputAddress("file.py:Flatten"))
    with pytest.raises(UsageError, match="which has its own: leave --weights out"):
        call(InputAddress(str(hardened.run), weights=Path("x.pth")))
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__"] == [
        "file.py"
    ]


OWN = """
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""
SMALL = ("--data", "digits", "--threat", "linf:0.05", "--samples", "10")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hardened run of a user's own network, `h1`, and an evaluation of it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "file.py").write_text(OWN, encoding="utf-8")
    done = temper(
        "harden", "--model", "file.py:build", "--data", "digits", "--threat", "linf:0.05",
        "--recipe", str(TINY), "--seed", "0", "--name", "h1", folder=folder,
    )  # fmt: skip
    assert done.code == 0, done.err
    return folder


@pytest.mark.filterwarnings("ignore:running .*, which built the model")
def test_a_run_of_ones_own_network_is_used_by_its_folder(own: Path, tmp_path: Path) -> None:
    done = temper("evaluate", own / "runs" / "h1", "--samples", "10", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert (found["data"], found["threat"]) == ("digits", "linf:0.05")


def test_the_file_that_is_run_is_named_before(own: Path) -> None:
    with pytest.warns(UserWarning, match=r"running .*file\.py, which built the model of"):
        InputAddress(str(own / "runs" / "h1")).load()


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
def test_a_run_that_judged_a_model_is_followed_to_it(own: Path) -> None:
    first = temper("evaluate", "runs/h1", "--samples", "10", "--name", "e1", folder=own)
    assert first.code == 0, first.err
    again = temper("evaluate", "runs/latest", "--samples", "10", "--json", folder=own)
    assert again.code == 0, again.err
    raw = temper("evaluate", "file.py:build", *SMALL, "--name", "e2", folder=own)
    assert raw.code == 0, raw.err
    follows = temper("evaluate", "runs/e2", *SMALL, "--json", folder=own)
    assert follows.code == 0, follows.err


def test_a_file_that_changed_is_not_run(own: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs" / "h1"
    shutil.copytree(own / "runs" / "h1", copy)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    changed = tmp_path / "file.py"
    changed.write_text(OWN + "print('other')\n", encoding="utf-8")
    manifest["factory_file"] = str(changed)
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    done = temper("evaluate", copy, "--samples", "10", folder=tmp_path)
    assert done.code == 1
    assert re.search(r"file\.py, which built the model of .*, has changed: say where", done.err)
    assert "other" not in done.out + done.err
    changed.unlink()
    gone = temper("evaluate", copy, "--samples", "10", folder=tmp_path)
    assert "is no longer there: say where it is with --model file.py:build" in gone.err
    words = ("--model", f"{own / 'file.py'}:build", "--samples", "10", "--json")
    moved = temper("evaluate", copy, *words, folder=tmp_path)
    assert moved.code == 0, moved.err
    assert moved.json()["threat"] == "linf:0.05"


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
def test_a_surrogate_of_ones_own_network_is_rebuilt_as_the_target_is(
    own: Path, tmp_path: Path
) -> None:
    transfer = f"transfer:surrogate={own / 'runs' / 'h1'},steps=2"
    words = ("--attack", transfer, "--out", "x.npz", "--json")
    done = temper("attack", f"{own / 'file.py'}:build", *SMALL, *words, folder=tmp_path)
    assert done.code == 0, done.err
    given = Transfer(PGD(steps=2), own / "runs" / "h1")
    assert sum(each.numel() for each in given.surrogates[0].network().parameters()) == 650


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
def test_a_surrogate_whose_file_changed_is_not_run_and_the_remedy_is_one_for_a_surrogate(
    own: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "runs" / "h1"
    shutil.copytree(own / "runs" / "h1", copy)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest["factory_file"] = str(tmp_path / "gone.py")
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    target = f"{own / 'file.py'}:build"
    attack = ("attack", target, *SMALL, "--attack", f"transfer:surrogate={copy}", "--out", "x.npz")
    gray = ("evaluate", target, *SMALL, "--access", "gray", "--surrogate", copy)
    for words in (attack, gray):
        done = temper(*words, folder=tmp_path)
        assert done.code == 1
        assert "gone.py, which built the model of" in done.err
        assert "give file.py:build in its place, a factory that loads the weights" in done.err
        assert "--model" not in done.err
    manifest["factory_file"] = ""
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    untold = temper(*attack, folder=tmp_path)
    assert "does not say which file: give file.py:factory in its place" in untold.err


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
def test_a_finished_evaluation_is_not_resumed_but_shown(own: Path) -> None:
    words = ("evaluate", "file.py:build", *SMALL, "--quick")
    done = temper(*words, "--name", "ended", folder=own)
    assert done.code == 0, done.err
    again = temper("evaluate", "--resume", "runs/ended", folder=own)
    assert again.code == 0, again.err
    assert again.out == done.out
    refused = temper(*words, "--resume", "runs/ended", folder=own)
    assert refused.code == 1
    assert re.search(r"ended is finished, and its report is .*ended/report\.html", refused.err)


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
def test_a_surrogate_that_is_given_is_not_said_to_be_trained(own: Path) -> None:
    words = ("--quick", "--access", "gray", "--surrogate", "runs/h1", "--json")
    done = temper("evaluate", "file.py:build", *SMALL, *words, folder=own)
    assert done.code == 0, done.err
    assert done.json()["quick"] == ["protocol=quick", "samples=10", "curve=none"]


@pytest.mark.filterwarnings("default::tempering.core.notes.TemperingWarning")
def test_data_and_threat_of_a_run_that_judged_a_factory_are_taken(own: Path) -> None:
    raw = temper("evaluate", "file.py:build", *SMALL, "--name", "e3", folder=own)
    assert raw.code == 0, raw.err
    again = temper("evaluate", "runs/e3", "--samples", "10", "--json", folder=own)
    assert again.code == 0, again.err
    assert (again.json()["data"], again.json()["threat"]) == ("digits", "linf:0.05")
    assert "is a run of `temper evaluate`: the model that it judged is taken" in again.err


@pytest.mark.filterwarnings("default::tempering.core.notes.TemperingWarning")
def test_weights_within_a_run_that_judged_a_model_are_those_of_that_model(own: Path) -> None:
    first = temper("evaluate", "runs/h1", "--samples", "10", "--name", "e4", folder=own)
    assert first.code == 0, first.err
    words = ("--weights", "runs/latest/model.safetensors", *SMALL, "--json")
    again = temper("evaluate", "file.py:build", *words, folder=own)
    assert again.code == 0, again.err
    assert again.json()["clean_correct"] == summary(own / "runs" / "e4")["clean_correct"]


@pytest.mark.filterwarnings("default::tempering.core.notes.TemperingWarning")
def test_a_hardened_run_is_compared_with_an_evaluation(own: Path) -> None:
    words = ("--samples", "20", "--name", "e5", "--compare", "runs/h1")
    done = temper("evaluate", "runs/h1", *words, folder=own)
    assert done.code == 0, done.err
    compared = temper("compare", "runs/h1", "runs/e5", "--json", folder=own)
    assert compared.code == 0, compared.err
    found = compared.json()
    assert found["clean"]["first_only"] == found["clean"]["second_only"] == 0
    assert found["first"]["run"] == "h1"


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text("utf-8"))
