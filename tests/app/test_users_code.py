"""Code of users at work in every command: it copes, or one line names the cause and its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tempering as tp
from tempering.core.records import Provenance, load_records
from tempering.models import weights_hash
from tempering.models.foreign import load_foreign
from tests.app.running import TINY, Done, temper

FILE = Path(__file__).with_name("odd_networks.py")
INPUTS = ("--data", "digits", "--threat", "linf:0.1")
SHORT = (
    *("evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.surrogate=false"),
    *(
        "training.hardened.stopping.max_iterations=10",
        "training.undefended.stopping.max_iterations=5",
    ),
    "evaluation.samples=4",
)

pytestmark = [
    pytest.mark.filterwarnings("default::tempering.core.notes.TemperingWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning"),
    pytest.mark.filterwarnings("ignore:quantized:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]


def evaluated(factory: str, folder: Path) -> Done:
    words = ("--attack", "fgsm", "--samples", "10", "--name", "e", "--json")
    return temper("evaluate", f"{FILE}:{factory}", *INPUTS, *words, folder=folder)


def certified(factory: str, folder: Path) -> Done:
    words = ("--samples", "8", "--json")
    return temper("certify", f"{FILE}:{factory}", *INPUTS, *words, folder=folder)


def attacked(factory: str, folder: Path) -> Done:
    words = ("--attack", "fgsm", "--samples", "8", "--out", "o.npz", "--json")
    return temper("attack", f"{FILE}:{factory}", *INPUTS, *words, folder=folder)


def hardened(factory: str, folder: Path) -> Done:
    settings = [word for text in SHORT for word in ("--set", text)]
    words = ("--recipe", TINY, "--model", f"{FILE}:{factory}", "--threat", "linf:0.1", *settings)
    return temper("harden", *words, "--name", "h", "--json", folder=folder)


def notes(run: Path) -> str:
    records = load_records(run / "records.jsonl")
    return "; ".join(next(one for one in records if isinstance(one, Provenance)).notes)


COPES = {
    "Two": "the first of the 2 outputs of a tuple is taken",
    "Named": "`logits` of a SimpleNamespace is taken",
    "Mapped": "`logits` of a dict is taken",
    "Locked": "",
    "NoMove": "",
    "compiled": "",
    "half": "",
    "many": "the model has 12 outputs for 10 classes",
    "lazy": "",
    "switches": "",
}


@pytest.mark.parametrize("factory", [*COPES, "exported", "quantised", "function", "Inference"])
def test_it_is_evaluated_and_certified(tmp_path: Path, factory: str) -> None:
    for done in (evaluated(factory, tmp_path), certified(factory, tmp_path)):
        assert done.code == 0, done.err
        assert done.json()["n"]
        assert COPES.get(factory, "") in done.err
    assert COPES.get(factory, "") in notes(tmp_path / "runs" / "e")
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("factory", sorted(COPES.keys() - {"NoMove", "Mapped", "many"}))
def test_it_is_hardened(tmp_path: Path, factory: str) -> None:
    done = hardened(factory, tmp_path)
    assert done.code == 0, done.err
    done.json()
    assert COPES[factory] in done.err
    assert COPES[factory] in notes(tmp_path / "runs" / "h")
    assert ("it is hardened in float32" in done.err) == (factory in ("half", "switches"))


CANNOT_TRAIN = {
    "exported": "the model is an exported program, which cannot be hardened",
    "quantised": "its state dict holds a dtype, as that of quantised layers does",
    "function": "is a function, which has no weights to train",
    "Inference": "no gradient with respect to its weights",
    "NoTraining": "in training mode: .*labels are missing (odd_networks.py:",
    "NoCopy": "the model cannot be copied: ValueError: one of a kind (odd_networks.py:",
    "NoMove": "ValueError: stays here (odd_networks.py:",
    "NoBackward": "not differentiable (odd_networks.py:",
    "NoEval": "the model's eval() fails: ValueError: no such mode (odd_networks.py:",
    "hooked": "ValueError: the hook broke (odd_networks.py:",
    "Exits": "SystemExit: 0 (odd_networks.py:",
}


@pytest.mark.parametrize("factory", CANNOT_TRAIN)
def test_what_cannot_be_hardened_is_refused_in_one_line(tmp_path: Path, factory: str) -> None:
    done = hardened(factory, tmp_path)
    assert (done.code, done.out) == (1, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("error: ")
    for part in CANNOT_TRAIN[factory].split(".*"):
        assert part in last


@pytest.mark.parametrize("factory", ["NoEval", "hooked", "Exits", "NoBackward"])
def test_failures_name_the_line_of_the_users_code(tmp_path: Path, factory: str) -> None:
    done = attacked(factory, tmp_path)
    assert (done.code, done.out) == (1, "")
    errors = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1
    for part in CANNOT_TRAIN[factory].split(".*"):
        assert part in errors[0]


def test_lazy_weights_depend_on_the_seed_and_are_read_from_files(tmp_path: Path) -> None:
    x = torch.rand(1, 1, 8, 8)
    first, again, other = (load_foreign(f"{FILE}:lazy", None, seed, x) for seed in (1, 1, 2))
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    read = load_foreign(f"{FILE}:lazy", tmp_path / "w.pt", 1, x)
    assert weights_hash(read) == weights_hash(other)


def test_modes_of_the_caller_are_put_back() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.inference_mode():
        assert tp.evaluate(model, tp.data.load("digits"), tp.Linf(0.1), samples=8).n == 8
        assert torch.is_inference_mode_enabled()
