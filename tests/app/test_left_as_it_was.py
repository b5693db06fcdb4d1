"""Whatever a user's code changes, weights, generators and torch's settings are as before a job."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tests.app.running import temper

X, Y = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2

JOBS: dict[str, Callable[[nn.Module], Any]] = {
    "evaluate": lambda model: tp.evaluate(model, (X, Y), "linf:0.1", attacks="fgsm"),
    "attack": lambda model: tp.attack(model, (X, Y), "linf:0.1", "pgd:steps=2"),
    "certify": lambda model: tp.certify(model, (X, Y), "linf:0.01", methods="interval"),
}


class Changing(nn.Module):
    def __init__(self, change: Callable[["Changing"], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.change = nn.Linear(4, 2), change
        self.register_buffer("shift", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1)) + self.shift
        self.change(self)
        return logits


def _replace(model: Changing) -> None:
    model.shift = model.shift + 1e-3


WEIGHTS: dict[str, Callable[[Changing], object]] = {
    "weight.data": lambda model: model.head.weight.data.mul_(0.9995),
    "buffer": lambda model: model.shift.add_(1e-3),
    "new buffer": _replace,
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("change", WEIGHTS)
@pytest.mark.filterwarnings("ignore")
def test_a_forward_that_changes_its_weights_leaves_the_model_as_it_was(
    job: str, change: str
) -> None:
    model = Changing(WEIGHTS[change])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    JOBS[job](model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def _draw(_: Changing) -> None:
    random.random()
    np.random.rand()
    torch.rand(())


SETTINGS: dict[str, Callable[[Changing], object]] = {
    "type": lambda _: torch.set_default_dtype(torch.float64),
    "device": lambda _: torch.set_default_device("meta"),
    "gradient mode": lambda _: torch.set_grad_enabled(False),
    "generators": _draw,
    "seeds": lambda _: (torch.manual_seed(1), np.random.seed(1), random.seed(1)),
}


def _state() -> list[Any]:
    device = torch.get_default_device()
    numpy = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    settings = [torch.get_default_dtype(), device, torch.is_grad_enabled()]
    return [*settings, torch.get_rng_state().tolist(), random.getstate(), numpy]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.filterwarnings("ignore")
def test_a_forward_changes_no_setting_and_no_generator_of_the_caller(job: str, name: str) -> None:
    model = Changing(SETTINGS[name])
    before = _state()
    try:
        JOBS[job](model)
        after = _state()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert after == before


@pytest.mark.filterwarnings("ignore")
def test_a_factory_that_sets_the_default_device_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "    torch.set_default_device('meta')\n"
        "    return net\n",
        encoding="utf-8",
    )
    words = ("my.py:build", "--data", "digits", "--threat", "linf:0.05", "--samples", "8")
    done = temper("certify", *words, "--method", "interval", folder=tmp_path)
    torch.set_default_device(None)
    assert done.code == 0, done.err
