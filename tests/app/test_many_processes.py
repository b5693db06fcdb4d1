"""`torchrun`: two processes share the work, and one of them writes and speaks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tempering.core.records import Provenance, load_records
from tests.app.running import TINY, Done, run_under, temper
from tests.app.test_evaluate import MINE, WORDS, trained


@pytest.fixture(autouse=True, scope="module")
def cheap_certificates() -> None:
    """Certificates as they are: processes of their own are compared with this one."""


def launcher(processes: int) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(processes), "-m", "tempering",
    ]  # fmt: skip


LAUNCHER = launcher(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def hardened(folder: Path) -> Done:
    words = ("harden", "--recipe", TINY, "--name", "two", "--json")
    return run_under(LAUNCHER, *words, folder=folder)


def test_two_processes_harden_together(hardened: Done, folder: Path) -> None:
    assert hardened.code == 0, hardened.err
    assert hardened.json()["n"] == 20
    runs = folder / "runs"
    assert {entry.name for entry in runs.iterdir()} == {"two", "latest"}
    (found,) = [
        one for one in load_records(runs / "two" / "records.jsonl") if isinstance(one, Provenance)
    ]
    assert found.processes == 2
    assert "Traceback" not in hardened.err


def test_what_two_processes_found_is_what_one_finds(hardened: Done, folder: Path) -> None:
    assert hardened.code == 0, hardened.err
    words = ("--samples", "20", "--attack", "fgsm", "--attack", "pgd:steps=2", "--json")
    alone = temper("evaluate", "runs/two", *words, folder=folder)
    assert alone.code == 0, alone.err
    one, two = alone.json(), hardened.json()
    assert one["clean_accuracy"] == two["clean_accuracy"] > 0
    # in float32 rounding depends on the batch
    for attack in ("fgsm", "pgd-2"):
        after = one["attacks"][attack]["after"], two["attacks"][attack]["after"]
        assert after[0] == pytest.approx(after[1], abs=1 / 20)


EXACT = MINE.replace("return Mine()", "return Mine().double()")
"""In float64 rounding decides nothing, so verdicts are the same to the last one."""


@pytest.fixture(scope="module")
def cascades(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, np.ndarray]]:
    """What became of each sample in one process and in two, which have shares of two sizes."""
    folder = tmp_path_factory.mktemp("cascades")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    (folder / "file.py").write_text(EXACT, encoding="utf-8")
    found: dict[int, dict[str, np.ndarray]] = {}
    for processes in (1, 2):
        out = str(processes)
        words = (*WORDS, "--threat", "linf:0.12", "--samples", "45", "--out", out, "--name", out)
        if processes == 1:
            done = temper(*words, folder=folder)
        else:
            done = run_under(launcher(processes), *words, folder=folder)
        assert done.code == 0, done.err
        with np.load(folder / out / "verdicts.npz", allow_pickle=False) as file:
            found[processes] = dict(file) | {"found": np.array(done.json(), dtype=object)}
    return found


def test_a_cascade_gives_the_same_verdicts_in_any_number_of_processes(
    cascades: dict[int, dict[str, np.ndarray]],
) -> None:
    alone, together = cascades[1], cascades[2]
    assert 5 < alone["certified"].sum() <= alone["robust"].sum() < alone["clean"].sum() < 45
    assert len(set(alone["broken_by"])) > 1
    for name in ("index", "clean", "certified", "robust", "broken_by", "queries"):
        assert together[name].tolist() == alone[name].tolist(), name
    assert np.allclose(together["distance"], alone["distance"], atol=1e-6)
    one, more = alone["found"].item(), together["found"].item()
    assert one["schedule"]
    for name in ("schedule", "flags", "interval"):
        assert more[name] == one[name], name
    # the clock decides how many samples a certification method is tried on first
    for kind, count in one["passes"].items():
        assert more["passes"][kind] == pytest.approx(count, rel=0.01), kind
    assert {name: stage["survivors"] for name, stage in more["by_attack"].items()} == {
        name: stage["survivors"] for name, stage in one["by_attack"].items()
    }


def test_a_wrong_call_of_two_processes_is_one_error(tmp_path: Path) -> None:
    done = run_under(LAUNCHER, "harden", "--threat", "linf:8", folder=tmp_path)
    assert done.code != 0
    assert done.err.count("did you mean 8/255?") == 1
    assert list(tmp_path.iterdir()) == []
