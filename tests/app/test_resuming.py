"""Killed for real, a run goes on to the same weights and the same record.

One undisturbed run is the measure. The others are ended by a signal at a moment that is
known from the files that they write, and then resumed. There is one round, judged at the
end, so that the weights that are kept come from steps after the signal.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tempering.core.records import Epoch, Measurement, load_records
from tests.app.running import TINY, Done, ended, started, temper, wait_until

STEPS = 40
OVERRIDES = [
    "training.checkpoint_seconds=0",
    f"training.hardened.stopping.max_iterations={STEPS}",
    f"training.hardened.steps_per_round={STEPS}",
    "training.hardened.mixture.attacks=['pgd:steps=5,until_fooled=false']",
    "evaluation.attacks=['fgsm', 'pgd:steps=100,until_fooled=false']",
    "evaluation.samples=50",
    "seed=1",  # no gradients are masked, so no long search without them
]
WORDS: list[str | Path] = ["harden", "--recipe", TINY, "--json", "--name", "one"]
WORDS += [word for override in OVERRIDES for word in ("--set", override)]

Moment = Callable[[Path], bool]


def step_of(run: Path, training: str) -> int:
    """The step of a training's last checkpoint."""
    path = run / "checkpoint" / f"{training}.safetensors"
    try:
        content = path.read_bytes()  # at once: the run puts a new file in its place at any moment
    except FileNotFoundError:
        return 0
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return int(json.loads(header["__metadata__"]["state"])["step"])


def in_training(run: Path) -> bool:
    return step_of(run, "hardened") >= STEPS // 3


def in_evaluation(run: Path) -> bool:
    return (run / "checkpoint" / "measured-undefended-curve.safetensors").exists()


def disturbed(folder: Path, moment: Moment, number: int) -> Done:
    """Start a run, and send it a signal at some moment of it."""
    run = folder / "runs" / "one"
    with started(*WORDS, folder=folder) as process:
        wait_until(process, lambda: moment(run))
        process.send_signal(number)
        return ended(process)


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert found.pop("seconds") > 0
    found.pop("certification")  # the times that certificates took
    for stage in found["by_attack"].values():
        stage.pop("seconds")
    return found


def measurements(run: Path) -> list[Measurement]:
    """All measurements but for the time they took."""
    found = [one for one in load_records(run / "records.jsonl") if isinstance(one, Measurement)]
    return [
        one.model_copy(update={"cost": one.cost.model_copy(update={"seconds": 0.0})})
        for one in found
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = temper(*WORDS, folder=folder)
    assert done.code == 0, done.err
    return folder / "runs" / "one"


def same_end(run: Path, undisturbed: Path) -> None:
    """Same weights to the byte, same record."""
    for name in ("model.safetensors", "gallery.npz"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert summary(run) == summary(undisturbed)
    assert measurements(run) == measurements(undisturbed)
    assert (run.parent / "latest").resolve() == run


def test_kill_nine_in_the_midst_of_hardening(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    done = disturbed(tmp_path, in_training, signal.SIGKILL)
    assert done.code == -signal.SIGKILL
    killed_at = step_of(run, "hardened")
    assert STEPS // 3 <= killed_at < STEPS
    assert not (run / "model.safetensors").exists()
    resumed = temper("harden", "--resume", run, "--json", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert resumed.json()["attacks"] == summary(run)["attacks"]
    same_end(run, undisturbed)


def test_kill_nine_in_the_midst_of_evaluation(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    done = disturbed(tmp_path, in_evaluation, signal.SIGKILL)
    assert done.code == -signal.SIGKILL
    assert not (run / "summary.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in run.glob("checkpoint/measured-*")}
    assert finished
    weights = (run / "model.safetensors").read_bytes()
    curves = [one for one in load_records(run / "records.jsonl") if isinstance(one, Epoch)]
    resumed = temper("harden", "--resume", run, "--json", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert (run / "model.safetensors").read_bytes() == weights
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert "hardened: fgsm" in resumed.err
    # the same to the second: the training was not done again
    again = [one for one in load_records(run / "records.jsonl") if isinstance(one, Epoch)]
    assert again == curves
    same_end(run, undisturbed)


def says_how_to_go_on(done: Done, run: Path, where: str) -> None:
    assert done.code == 130
    assert done.out == ""
    last = done.err.splitlines()[-1]
    assert last.startswith(f"error: interrupted{where}")
    assert last.endswith(f": go on with temper harden --resume {run}")
    assert "Traceback" not in done.err


def test_ctrl_c_saves_and_says_how_to_go_on(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    done = disturbed(tmp_path, in_training, signal.SIGINT)
    step = step_of(run, "hardened")
    says_how_to_go_on(done, run, f" at step {step} of training hardened; saved")
    command = done.err.split("go on with temper ")[1].split()
    resumed = temper(*command, folder=tmp_path)
    assert resumed.code == 0, resumed.err
    same_end(run, undisturbed)


def test_sigterm_in_evaluation_saves_and_says_how_to_go_on(
    undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "one"
    done = disturbed(tmp_path, in_evaluation, signal.SIGTERM)
    says_how_to_go_on(done, run, "; finished stages are saved")
    assert "hardened: pgd-100 (gray-before): done" not in done.err
    resumed = temper("harden", "--resume", run, folder=tmp_path)
    assert resumed.code == 0, resumed.err
    same_end(run, undisturbed)


def test_a_finished_run_may_be_resumed_and_stays_as_it_is(
    undisturbed: Path, tmp_path: Path
) -> None:
    before = (undisturbed / "model.safetensors").read_bytes()
    told = summary(undisturbed)
    resumed = temper("harden", "--resume", undisturbed, folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert (undisturbed / "model.safetensors").read_bytes() == before
    assert summary(undisturbed) == told
    assert list(tmp_path.iterdir()) == []


def test_a_run_at_work_is_not_resumed_beside_itself(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    with started(*WORDS, folder=tmp_path) as process:
        wait_until(process, lambda: (run / "checkpoint" / "hardened.safetensors").exists())
        os.kill(process.pid, signal.SIGSTOP)
        beside = temper("harden", "--resume", run, folder=tmp_path)
    assert beside.code == 1
    assert beside.err == (
        f"error: another job is at work in {run}: wait for it, or give another name\n"
    )
