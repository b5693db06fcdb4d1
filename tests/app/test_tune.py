"""`temper tune`: trials on validation data, resuming, the recipe that comes out, wrong calls."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tempering as tp
from tempering.app import tuning_run
from tempering.app.folder import RunFolder
from tempering.app.recipe import load_recipe
from tempering.core.engine import Engine
from tempering.core.errors import (
    ModelError,
    RunError,
    UnknownNameError,
    UsageError,
)
from tempering.core.tuning_records import Trial, TuningStudy
from tempering.data.splits import Splits
from tests.app.running import TINY, Done, started, temper, wait_until

WORDS = (
    *("tune", "--recipe", TINY, "--objectives", "paper,trades:steps=2", "--trials", "3"),
    *("--threat", "linf:0.1", "--seed", "3"),
)
STEPS = "training.hardened.stopping.max_iterations=40"
WORDS += ("--set", STEPS, "--set", "training.hardened.optimisation.averaging=0.5")


class Rounded(torch.nn.Module):
    """What no method bounds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x)


def trials_of(run: Path) -> list[dict[str, Any]]:
    """The trials of a run, without their times."""
    study = TuningStudy.model_validate_json((run / "study.json").read_bytes())
    return [trial.model_dump(exclude={"seconds"}) for trial in study.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A search that nothing interrupts, and its folder."""
    folder = tmp_path_factory.mktemp("tune")
    done = temper(*WORDS, "--name", "t", "--json", folder=folder)
    assert done.code == 0, done.err
    return folder, done


def test_the_best_settings_are_told_written_and_drawn(whole: tuple[Path, Done]) -> None:
    folder, done = whole
    told, run = done.json(), folder / "runs" / "t"
    assert [trial["number"] for trial in told["trials"]] == [1, 2, 3]
    own, *drawn = told["trials"]
    assert (own["objective"], own["learning_rate"]) == ("paper", 3e-3)  # the recipe itself
    assert all(trial["learning_rate"] != 3e-3 for trial in drawn)
    assert {trial["objective"].partition(":")[0] for trial in drawn} <= {"paper", "trades"}
    assert told["best"]["value"] == max(trial["value"] for trial in told["trials"])
    assert told["n"] == 20
    recipe = load_recipe(str(folder / told["recipe_file"]))
    hardened = recipe.training.hardened
    assert hardened.objective == told["best"]["objective"]
    assert hardened.optimisation.learning_rate == told["best"]["learning_rate"]
    assert recipe.model_dump(mode="json", exclude_none=True) == told["recipe"]
    assert [attack.label() for attack in recipe.training.validation.attacks] == ["fgsm"]
    page = (run / "study.html").read_text()
    assert "Search for training settings" in page
    assert "20 validation samples by pgd-20x2, fgsm" in page.replace("PGD-20", "pgd-20")
    assert "it is optimistic" in page
    (listed,) = temper("list", "runs", "--json", folder=folder).json()
    assert (listed["status"], listed["kind"]) == ("finished", "tune")
    assert listed["summary"].startswith("tune: 3 trials on digits")
    assert not list((run / "checkpoint").glob("trial-*"))


def test_harden_takes_the_recipe(whole: tuple[Path, Done]) -> None:
    folder, done = whole
    less = ("evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.paper=none")
    words = [word for text in less for word in ("--set", text)]
    file = done.json()["recipe_file"]
    hardened = temper(
        "harden", "--recipe", file, *words, "--no-surrogate", "--samples", "10", "--name", "h",
        folder=folder,
    )  # fmt: skip
    assert hardened.code == 0, hardened.err
    records = (folder / "runs/h/records.jsonl").read_text().splitlines()
    rounds = [one for one in map(json.loads, records) if one["kind"] == "round"]
    best = done.json()["best"]
    assert best["clean"] in [one["clean"]["hits"] / one["clean"]["n"] for one in rounds]


def test_a_search_that_was_killed_goes_on_to_the_same_result(
    whole: tuple[Path, Done], tmp_path: Path
) -> None:
    run = tmp_path / "runs/k"
    words = (*WORDS, "--name", "k", "--set", "training.checkpoint_seconds=0")
    with started(*words, folder=tmp_path) as process:
        wait_until(process, lambda: (run / "checkpoint/trial-2.safetensors").exists())
        process.kill()
    assert len(trials_of(run)) == 1
    (listed,) = temper("list", "runs", "--json", folder=tmp_path).json()
    assert (listed["status"], listed["kind"]) == ("unfinished", "tune")
    again = temper("tune", "--resume", run, folder=tmp_path)
    assert again.code == 0, again.err
    assert "best             trial" in again.out
    assert trials_of(run) == trials_of(whole[0] / "runs/t")


def test_ctrl_c_keeps_the_trials_and_says_how_to_go_on(
    whole: tuple[Path, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = tuning_run.run_trial

    def interrupted(number: int, *given: Any) -> Trial:
        if number == 3:
            raise KeyboardInterrupt
        return honest(number, *given)

    with monkeypatch.context() as patch:
        patch.setattr(tuning_run, "run_trial", interrupted)
        done = temper(*WORDS, "--name", "c", folder=tmp_path)
    assert done.code == 130
    assert "go on with temper tune --resume" in done.err
    run = tmp_path / "runs/c"
    assert len(trials_of(run)) == 2
    found = tp.tune(resume=run)
    assert trials_of(run) == trials_of(whole[0] / "runs/t")
    assert found.study.finished
    assert found.recipe == load_recipe(str(found.recipe_file))
    more = tp.tune(resume=run, trials=4)  # totals may grow
    assert len(more.study.trials) == 4


def test_test_data_is_not_looked_at(whole: tuple[Path, Done], tmp_path: Path) -> None:
    data = tp.data.load("digits", seed=3)
    noise = replace(data.test, pixels=torch.rand(data.test.pixels.shape))
    other: Splits = replace(data, test=noise)
    found = tp.tune(
        data=other, threat="linf:0.1", recipe=TINY, objectives=["paper", "trades:steps=2"],
        trials=2, seed=3, overrides=list(WORDS[-3::2]), runs=tmp_path,
    )  # fmt: skip
    assert trials_of(found.run) == trials_of(whole[0] / "runs/t")[:2]
    assert found.best.number in (1, 2)
    assert "Tuned(trial" in repr(found)


def test_a_model_of_ones_own_is_tuned_for_certificates(tmp_path: Path) -> None:
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )
    given = {"overrides": list(WORDS[-3::2]), "runs": tmp_path, "recipe": TINY, "trials": 1}
    found = tp.tune(
        model, threat="linf:0.01", goal="certified", objectives="interval:kappa=0.5,ramp_end=0.3",
        name="own", **given,
    )  # fmt: skip
    assert found.study.judged_by == ["interval", "crown-ibp"]
    assert found.study.model == "Sequential"
    assert found.best.objective == "interval:kappa=0.5,ramp_end=0.3"
    assert found.best.value is not None
    assert found.best.clean is not None
    assert 0 < found.best.value.hits <= found.best.clean.hits
    assert min(found.best.steps) >= 0.3 * 40  # no round is judged while eps grows
    with pytest.raises(RunError, match=r"begun with a Sequential from Python: give .*model=\.\.\."):
        tp.tune(resume=found.run)
    assert len(tp.tune(model, resume=found.run, trials=2).study.trials) == 2


def test_what_came_from_python_is_given_again_and_certificates_are_tried(tmp_path: Path) -> None:
    data = tp.data.load("digits").train.first(400)
    given = (data.images(torch.arange(400)), data.y)
    few = {"overrides": list(WORDS[-3::2]), "runs": tmp_path, "recipe": TINY, "trials": 1}
    found = tp.tune(data=given, objectives="pgd:steps=1", **few)
    with pytest.raises(RunError, match=r"came from Python: go on with tempering\.tune\(data="):
        tp.tune(resume=found.run)
    assert len(tp.tune(data=given, resume=found.run, trials=2).study.trials) == 2
    before = list(tmp_path.iterdir())
    odd = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), Rounded())
    with pytest.raises(ModelError, match=r"no certificates to search for: .*: choose the goal"):
        tp.tune(odd, goal="certified", threat="linf:0.1", objectives="paper", **few)
    assert list(tmp_path.iterdir()) == before


def test_certificates_of_cnn7_are_searched(tmp_path: Path) -> None:
    words = ("--model", "cnn7", "--set", "model.options.width=0.06", "--threat", "linf:0.001")
    done = temper(
        "tune", "--recipe", TINY, "--goal", "certified", "--trials", "1", "--objectives",
        "fast-ibp+interval", *words, *WORDS[-4:], "--json", folder=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    best = done.json()["best"]
    assert best["objective"].startswith("fast-ibp+interval:kappa=")
    assert best["value"] > 0


def test_an_objective_that_needs_an_undefended_model_gets_one(tmp_path: Path) -> None:
    found = tp.tune(recipe=TINY, objectives="single-pass", trials=2, runs=tmp_path, name="u")
    assert [trial.state for trial in found.study.trials] == ["finished", "finished"]
    assert (found.run / "checkpoint/undefended.safetensors").exists()


def test_the_gain_that_ends_a_training_is_over_the_undefended_model(tmp_path: Path) -> None:
    gain = "training.hardened.stopping.gain_at_least=0.01"
    longer = "training.undefended.stopping.max_iterations=80"
    values = ("training.undefended.optimisation.averaging=0.5", "threat=linf:0.001")
    found = tp.tune(
        recipe=TINY, objectives="paper", trials=1, runs=tmp_path, overrides=[gain, longer, *values]
    )
    (trial,) = found.study.trials
    assert max(trial.rounds) > 0.01
    assert trial.reason.startswith("MaxIterations")  # the undefended model is better than that


def test_time_ends_a_search_and_more_time_continues_the_trial(tmp_path: Path) -> None:
    words = ("--recipe", TINY, "--objectives", "paper", "--name", "s")
    short = temper("tune", *words, "--time", "0.01s", folder=tmp_path)
    assert short.code == 1
    assert short.err.splitlines()[-1].startswith(
        "error: no round of a trial was finished in 0.01 s"
    )
    run = tmp_path / "runs/s"
    assert [trial["state"] for trial in trials_of(run)] == ["stopped"]
    longer = temper("tune", "--resume", run, "--time", "5m", "--trials", "1", folder=tmp_path)
    assert longer.code == 0, longer.err
    assert [trial["state"] for trial in trials_of(run)] == ["finished"]


def test_trials_that_diverge_are_told(tmp_path: Path) -> None:
    rate = "training.hardened.optimisation.learning_rate=1e14"
    with pytest.raises(
        RunError, match=r"all 2 trials failed, the last so: training hardened diverged: "
    ):
        tp.tune(recipe=TINY, overrides=[rate], objectives="paper", trials=2, runs=tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--objectives", "trade,paper", "--trials", "2"), "unknown objective 'trade': did you"),
        (("--objectives", "paper,paper", "--trials", "2"), "objectives paper,paper: give each"),
        (("--time", "0"), "time '0': give seconds, minutes or hours"),
        ((), "a search without an end: give --time, such as 30m, or --trials"),
        (("--trials", "2", "--goal", "certified", "--threat", "l2:1"), "does not train against"),
        (("--trials", "2", "--set", "training.hardened.objective=mart"), "of what is searched"),
        (("--trials", "2", "--set", "training.hardned.objective=mart"), "unknown key"),
        (("--trials", "1", "--set", "training.hardened.optimisation.batch_size=5000"),
         "batch_size 5000 for 1294 training samples: give at most 1294"),
        (("--trials", "1", "--objectives", "awp+awp+pgd"), "awp twice in awp+awp+pgd"),
        (("--trials", "1", "--objectives", "ard:teacher=zoo:mnist-linf-0.1"),
         "ard: the teacher zoo:mnist-linf-0.1 fails on images of shape (1, 8, 8)"),
        (("--resume", "x", "--objectives", "paper"), "give only --time, --trials"),
        (
            ("--trials", "1", "--model", "wrn", "--objectives", "interval", "--set",
             "model.options.depth=10", "--set", "model.options.widen=1"),
            "no differentiable interval bounds for block1_1 (PreActivationBlock)",
        ),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused_in_a_line_and_leave_nothing(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = temper("tune", "--recipe", TINY, *words, folder=tmp_path)
    assert done.code in (1, 2)
    assert message in done.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_wrong_calls_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="seconds = 0: give more than 0"):
        tp.tune(seconds=0)
    with pytest.raises(UsageError, match="goal 'robustness': give robust or certified"):
        tp.tune(goal="robustness", trials=1)
    with pytest.raises(UnknownNameError, match="mart"):
        tp.tune(recipe=TINY, objectives=["matr"], trials=1, runs=tmp_path)
    with pytest.raises(RunError, match="is no search to resume"):
        tp.tune(resume=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "world_size", property(lambda _engine: 2))
        with pytest.raises(UsageError, match="a search runs in one process"):
            tp.tune(recipe=TINY, trials=1, runs=tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r'needs the library optuna: pip install "tempering\[tune'):
        tp.tune(trials=1)


def test_a_search_of_another_version_or_of_other_data_is_not_resumed(
    whole: tuple[Path, Done], tmp_path: Path
) -> None:
    settings = json.loads((whole[0] / "runs/t/checkpoint/run.json").read_text())
    file = tmp_path / "checkpoint/run.json"
    file.parent.mkdir()
    file.write_text(json.dumps({**settings, "tempering": "0.0.9"}))
    with pytest.raises(RunError, match=r"was begun by tempering 0\.0\.9, and this is .*: start a"):
        tp.tune(resume=tmp_path)
    file.write_text(json.dumps({**settings, "data_hash": "0" * 16}))
    with pytest.raises(RunError, match="the data has changed since"):
        tp.tune(resume=tmp_path)
    file.write_text(json.dumps(settings))
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(RunError, match=r"study\.json is damaged: start a new search"):
        tp.tune(resume=tmp_path)


def test_a_search_at_work_is_left_alone(whole: tuple[Path, Done], tmp_path: Path) -> None:
    run = tmp_path / "t"
    shutil.copytree(whole[0] / "runs/t", run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with RunFolder(run).locked(), pytest.raises(RunError, match="another job is at work in"):
        tp.tune(resume=run, trials=9)
    assert {path: path.read_bytes() for path in before} == before
