"""Networks that people bring: judged, hardened, or refused in one line; data stays as it is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.core.errors import ModelError
from tempering.core.hashing import tensor_hash
from tempering.data.splits import Splits
from tempering.training import Adam, Standard, StepConfig, train_steps
from tests.app.odd_networks import Around, net
from tests.app.running import TINY, temper

FEW = ("evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.surrogate=false")


@pytest.fixture(scope="module")
def data() -> Splits:
    return tp.data.load("digits")


class Subtracts(Around):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.sub_(0.3).div_(0.35))


class Clamps(Around):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.mul_(2).clamp_(0.2, 0.8))


class Assigns(Around):
    def forward(self, x: Tensor) -> Tensor:
        x[..., 0] = 0.5
        return self.net(x)


class WritesWithoutGradient(Around):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * 0.5 if x.requires_grad else x.mul_(0.5))


def inplace_layer() -> nn.Module:
    return nn.Sequential(nn.Hardtanh(0.2, 0.8, inplace=True), *net())


def twin(model: nn.Module) -> nn.Module:
    """The same network behind a copy of its images."""

    class Copies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.clone())

    return Copies()


def hashes(data: Splits) -> list[str]:
    return [tensor_hash({"x": one.x, "y": one.y}) for one in data.parts.values()]


@pytest.mark.parametrize("make", [Subtracts, Clamps, Assigns, WritesWithoutGradient, inplace_layer])
def test_a_model_that_writes_its_input_changes_neither_data_nor_verdicts(
    data: Splits, tmp_path: Path, make: Callable[[], nn.Module]
) -> None:
    before = hashes(data)
    found, other = (
        tp.evaluate(model, data, tp.Linf(0.05), samples=30) for model in (make(), twin(make()))
    )
    assert hashes(data) == before
    same = ("clean_correct", "robust_correct")
    assert [getattr(found, name) for name in same] == [getattr(other, name) for name in same]
    x = data.test.x[:8].clone()
    tp.attacks.PGD(steps=2)(make(), x, data.test.y[:8], tp.Linf(0.05))
    assert torch.equal(x, data.test.x[:8])
    tp.harden(make(), data, tp.Linf(0.05), recipe=str(TINY), overrides=FEW, name="w", runs=tmp_path)
    assert hashes(data) == before


class Auxiliary(Around):
    def forward(self, x: Tensor) -> Any:
        logits = self.net(x)
        return (logits, logits * 0.5) if self.training else logits


class Keeps(Around):
    def forward(self, x: Tensor) -> Tensor:
        self.features = self.net[:2](x)
        self.seen = {"last": [self.features]}
        return self.net[2:](self.features)


class Wrapped(Around):
    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(logits=self.net(x))


def normed() -> nn.Module:
    model = net()
    with pytest.warns(FutureWarning):
        model[3] = nn.utils.weight_norm(model[3])
    return model


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def used(model: nn.Module) -> nn.Module:
    model(torch.rand(2, 1, 8, 8))
    return model


@pytest.mark.filterwarnings("ignore::tempering.core.notes.TemperingWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: net().double(),
        Auxiliary,
        lambda: used(Keeps()),
        Wrapped,
        normed,
        lazy,
        lambda: nn.DataParallel(net()),
    ],
    ids=["double", "auxiliary", "keeps", "logits attribute", "weight_norm", "lazy", "parallel"],
)
def test_it_is_evaluated_and_hardened(
    data: Splits, tmp_path: Path, make: Callable[[], nn.Module]
) -> None:
    assert tp.evaluate(make(), data, tp.Linf(0.05), samples=10).n == 10
    result = tp.harden(
        make(), data, tp.Linf(0.05), recipe=str(TINY), overrides=FEW, name="one", runs=tmp_path
    )
    assert (result.run / "report.html").is_file()


def test_gradients_that_are_switched_off_are_switched_on_where_needed(
    data: Splits, tmp_path: Path
) -> None:
    with torch.no_grad():
        assert tp.evaluate(net(), data, tp.Linf(0.05), samples=10).passes.backward > 0
        tp.harden(
            net(), data, tp.Linf(0.05), recipe=str(TINY), overrides=FEW, name="off", runs=tmp_path
        )
        assert not torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: net().requires_grad_(False), "cannot be trained: all 4 parameters are frozen"),
        (nn.Flatten, "cannot be trained: no parameters"),
        (lambda: torch.jit.script(net()), "is TorchScript, which cannot be hardened"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    data: Splits, tmp_path: Path, make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        tp.harden(make(), data, tp.Linf(0.05), recipe=str(TINY), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_last_batch_of_one_trains_batch_normalisation(data: Splits) -> None:
    part = data.train.subset(torch.arange(33))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    config = StepConfig(threat=tp.Linf(0.1), batch_size=32, optimizer=Adam(1e-3))
    assert train_steps(model, part, Standard(), 5, config=config).step == 5


@pytest.mark.parametrize("channels", [2, 4])
def test_any_number_of_channels_works_to_the_end(
    data: Splits, tmp_path: Path, channels: int
) -> None:
    train = data.train.first(300)
    many = tp.data.Splits.of(
        tp.data.Dataset.of(train.x.repeat(1, channels, 1, 1), train.y), address="bands"
    )
    result = tp.harden(
        net(channels), many, tp.Linf(0.05), recipe=str(TINY), name="bands", runs=tmp_path
    )
    page = (result.run / "report.html").read_text("utf-8")
    assert f"Of the {channels} bands the first" in page


def test_what_a_model_prints_is_no_result(tmp_path: Path) -> None:
    source = (
        "import torch\n"
        "class Prints(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        print('forward', tuple(x.shape))\n"
        "        return x.flatten(1)[:, :10]\n"
        "def build():\n"
        "    print('building')\n"
        "    return Prints()\n"
    )
    (tmp_path / "file.py").write_text(source, encoding="utf-8")
    words = ("--data", "digits", "--threat", "linf:0.05", "--samples", "10", "--json")
    done = temper("evaluate", "file.py:build", *words, folder=tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["n"] == 10
    assert "forward (" in done.err


def test_a_function_is_a_model_without_weights(data: Splits) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        found = tp.evaluate(lambda x: x.flatten(1)[:, :10], data, "linf:8/255", samples=10)
    assert found.n == 10
    assert out.getvalue() == ""
