"""Objectives from the command line, from a recipe, from a file and from Python, to the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

import tempering as tp
from tempering.app.train_models import BOUNDS, choose_objective
from tempering.attacks import FGSM
from tempering.core.errors import RunError, TemperingError, UsageError
from tempering.core.records import Epoch, Provenance, Round, load_records
from tempering.training import Batch, Losses, Objective, Paper, Trades
from tempering.training.interval_bounds import certified
from tempering.training.objectives.registry import parse_objective
from tests.app.running import TINY, Done, temper

SHORT = [
    "--recipe",
    TINY,
    "--set",
    "evaluation.surrogate=false",
    "--set",
    "evaluation.curve=none",
    "--set",
    "evaluation.minimum_norm=none",
]
OWN = '''
from dataclasses import dataclass
import torch.nn.functional as F
from tempering.training import Losses, Objective

@dataclass(frozen=True)
class Focal(Objective):
    """Focal loss."""
    name = "focal"
    gamma: float = 2.0
    def __call__(self, model, batch):
        logits = model(batch.x)
        loss = F.cross_entropy(logits, batch.y, reduction="none")
        weighed = (1 - (-loss).exp()) ** self.gamma * loss
        return Losses(weighed, logits.detach(), {"cross_entropy": loss.mean()})

strong = Focal(gamma=3.0)
broken = 3

def fails():
    raise ValueError("not today")

def made(gamma: float, twice=False):
    return Focal(gamma=2 * gamma if twice else gamma)
'''


def harden(folder: Path, *words: str | Path) -> Done:
    return temper("harden", *SHORT, "--name", "one", *words, folder=folder)


def records(folder: Path) -> tuple[Provenance, list[Epoch]]:
    found = load_records(folder / "runs" / "one" / "records.jsonl")
    (made,) = (record for record in found if isinstance(record, Provenance))
    return made, [
        record for record in found if isinstance(record, Epoch) and record.model == "hardened"
    ]


def test_rounds_of_certified_training_are_judged_by_certificates(tmp_path: Path) -> None:
    done = harden(
        tmp_path,
        "--objective",
        "interval:ramp_start=0,ramp_end=0.2",
        "--threat",
        "linf:0.001",
        "--set",
        "model.options.squeeze=[]",
        "--set",
        "training.hardened.stopping.max_iterations=100",
        "--set",
        "training.hardened.steps_per_round=50",
    )
    assert done.code == 0, done.err
    found = load_records(tmp_path / "runs" / "one" / "records.jsonl")
    rounds = [record for record in found if isinstance(record, Round)]
    assert rounds
    for record in rounds:
        assert record.by_attack == {BOUNDS: record.worst}
    hardened = tp.models.load(tmp_path / "runs" / "one").model
    data = tp.data.load("digits", seed=1).validation.first(20)
    proven = int(certified(hardened, data.x, data.y, 0.001).sum())
    assert max(record.worst.hits for record in rounds) == proven


def test_an_objective_from_the_command_line_is_in_records_and_report(tmp_path: Path) -> None:
    done = harden(tmp_path, "--objective", "trades:beta=3,steps=2")
    assert done.code == 0, done.err
    made, epochs = records(tmp_path)
    # the ramp is the recipe's, since it was not given
    assert made.objective == {
        "name": "trades",
        "beta": 3.0,
        "steps": 2,
        "step_size": None,
        "eps_warmup_steps": 5,
    }
    assert made.recipe["training"]["hardened"]["objective"] == "trades:beta=3,steps=2"
    assert set(epochs[-1].scalars) == {"clean_loss", "kl"}
    report = (tmp_path / "runs" / "one" / "report.html").read_text(encoding="utf-8")
    assert "Training objective" in report
    assert "beta 3" in report


@pytest.mark.parametrize(
    "objective", ["single-pass", "mart:steps=2", "n-fgsm", "multi-norm:steps=1"]
)
def test_a_recipe_names_an_objective(tmp_path: Path, objective: str) -> None:
    done = harden(tmp_path, "--set", f'training.hardened.objective="{objective}"')
    assert done.code == 0, done.err
    assert records(tmp_path)[0].objective["name"] == objective.partition(":")[0]


@pytest.mark.parametrize(("name", "gamma"), [("Focal", 2.0), ("strong", 3.0)])
def test_ones_own_objective_comes_from_a_file(tmp_path: Path, name: str, gamma: float) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    done = harden(tmp_path, "--objective", f"own.py:{name}")
    assert done.code == 0, done.err
    made, epochs = records(tmp_path)
    assert made.objective == {"name": "focal", "gamma": gamma}
    assert "cross_entropy" in epochs[-1].scalars


@pytest.mark.parametrize(
    ("text", "gamma"),
    [
        ("Focal:gamma=5", 5.0),
        ("strong:gamma=4", 4.0),
        ("made:gamma=2", 2.0),
        ("made:gamma=2,twice=true", 4.0),
    ],
)
def test_ones_own_objective_takes_parameters(tmp_path: Path, text: str, gamma: float) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    made = parse_objective(f"{tmp_path}/own.py:{text}")
    assert made.config() == {"name": "focal", "gamma": gamma}


def test_ones_own_objective_takes_parameters_of_the_recipe_as_others_do(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    given = {"gamma": 7.0, "sigma": 0.1}
    assert parse_objective(f"{tmp_path}/own.py:Focal", given).config()["gamma"] == 7.0
    assert parse_objective(f"{tmp_path}/own.py:Focal:gamma=1", given).config()["gamma"] == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "trade"], "unknown objective 'trade': did you mean trades"),
        (["--objective", "trades:bata=6"], "unknown parameter of trades 'bata': did you mean beta"),
        (["--objective", "trades:beta=-1"], "trades: beta = -1: give a number of at least 0"),
        (["--objective", "trades:beta=many"], "trades: beta = 'many': give a number"),
        (["--objective", "trades:steps=2.5"], "trades: steps = '2.5': give a whole number"),
        (["--objective", "trades:beta"], "'beta' in objective 'trades:beta' is not key=value"),
        (["--objective", "trades:beta=1,beta=2"], "beta is given twice"),
        (
            ["--objective", "trades:eps_warmup_steps=21"],
            "eps_warmup_steps = 21 in a training of 20 steps: give at most 20",
        ),
        (["--objective", "interval", "--threat", "l2:1"], "interval does not train against l2:1"),
        (["--objective", "ard"], "ard: no teacher: give the folder of a robust model"),
        (["--objective", "rslad:teacher=gone"], "rslad: no teacher at gone: give a run folder"),
        (["--objective", "multi-norm:threats=l3:1"], "l3"),
        (["--objective", "fast-ibp+trades"], "fast-ibp does not wrap trades"),
        (["--objective", "curriculum:end=2+trades"], "curriculum: end = 2, a share of the train"),
        (
            ["--set", "training.hardened.optimisation.swa_start=0.5"],
            "swa_start = 0.5 beside averaging",
        ),
        (["--objective", "interval", "--model", "own.py:curved"], "no differentiable interval"),
        (["--objective", "own.py:nothing"], "no nothing in own.py: it defines"),
        (["--objective", "own.py:broken"], "objective own.py:broken is a int: give a training"),
        (["--objective", "own.py:fails"], "objective own.py:fails failed: ValueError: not today"),
        (["--objective", "own.py:Focal:gama=1"], "did you mean gamma"),
        (["--objective", "own.py:Focal:gamma=x"], "own.py:Focal: gamma = 'x': give a number"),
        (["--objective", "own.py:Focal:gamma"], "is not key=value"),
        (["--objective", "gone.py:Own"], "no file gone.py for objective gone.py:Own"),
    ],
)
def test_wrong_objectives_are_one_line_and_leave_nothing(
    tmp_path: Path, words: list[str], message: str
) -> None:
    curved = (
        "\ndef curved():\n    from torch import nn\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.GELU(), nn.Linear(9, 10))\n"
    )
    (tmp_path / "own.py").write_text(OWN + curved, encoding="utf-8")
    done = harden(tmp_path, *words)
    assert done.code != 0
    assert message in done.err.replace("\n", " ")
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert not (tmp_path / "runs").exists()


def test_a_wrapped_objective_hardens_from_the_command_line(tmp_path: Path) -> None:
    spec = "abl:isolation=0.5,share=0.05+trim:share=0.1+trades:steps=1"
    done = harden(tmp_path, "--objective", spec)
    assert done.code == 0, done.err
    provenance = load_records(tmp_path / "runs" / "one" / "records.jsonl")[0]
    assert isinstance(provenance, Provenance)
    assert provenance.objective["name"] == "abl"
    assert provenance.objective["inner"]["inner"]["name"] == "trades"
    refused = harden(tmp_path, "--objective", "trim")
    assert "name it, such as trim+paper or trim+trades" in refused.err.replace("\n", " ")


def test_objectives_are_listed(tmp_path: Path) -> None:
    listed = {
        row["name"]: row for row in temper("list", "objectives", "--json", folder=tmp_path).json()
    }
    assert set(listed) == set(tp.training.OBJECTIVES)  # type: ignore[attr-defined]
    assert listed["trades"]["source"] == "Zhang et al., 2019"
    assert listed["trades"]["parameters"]["beta"] == 6.0
    assert listed["trades"]["inner_maximization"] == "own"
    assert listed["free"]["passes"] == {"forward": 1, "backward": 1}
    assert listed["multi-norm"]["parameters"]["threats"] == ["l2:2", "l1:10"]
    assert listed["trim"]["parameters"] == {"share": 0.05, "after": 0.2}
    shown = temper("list", "objectives", folder=tmp_path).out
    assert {line.split()[0] for line in shown.splitlines() if line[0] != " "} == set(listed)


@dataclass(frozen=True)
class Hinge(Objective):
    """Not registered anywhere."""

    name = "hinge"
    width: float = 1.0

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.x)
        own = logits.gather(1, batch.y[:, None])
        return Losses((self.width + logits - own).clamp_min(0).mean(1), logits.detach())


def test_values_become_text_where_text_says_all_of_them() -> None:
    assert choose_objective(None, ["seed=1"]) == (["seed=1"], None)
    assert choose_objective("mart", []) == (['training.hardened.objective="mart"'], None)
    overrides, value = choose_objective(Trades(beta=2), [])
    assert overrides == [
        'training.hardened.objective="trades:beta=2,steps=10,step_size=none,eps_warmup_steps=0"'
    ]
    assert value is None
    for given in (Hinge(2.0), Paper(attacks=(FGSM(),))):
        overrides, value = choose_objective(given, [])
        assert overrides == [f'training.hardened.objective="python:{given.name}"']
        assert value is given


def test_a_value_from_python_trains_and_is_wanted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [word for word in SHORT[2:] if word != "--set"]
    done = tp.harden(
        recipe=str(TINY),
        overrides=[str(word) for word in overrides],
        objective=Hinge(2.0),
        name="one",
    )
    made, _ = records(tmp_path)
    assert made.objective == {"name": "hinge", "width": 2.0}
    with pytest.raises(RunError, match=r"objective, python:hinge, of .* came from Python"):
        tp.resume(done.run)
    with pytest.raises(TemperingError, match="belongs to another recipe"):
        tp.resume(done.run, objective=Hinge(3.0))
    assert tp.resume(done.run, objective=Hinge(2.0)).record.n == done.record.n
    unsaid = ['training.hardened.objective="python:hinge"']
    with pytest.raises(UsageError, match="objective python:hinge came from Python: give"):
        tp.harden(recipe=str(TINY), overrides=unsaid, name="two")
