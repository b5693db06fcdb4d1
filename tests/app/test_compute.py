"""Device and batch size: refused where there is none, and without effect on results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tempering as tp
from tempering.core.errors import UsageError
from tempering.core.records import Provenance, load_records
from tests.app.running import TINY, temper
from tests.app.test_evaluate import MINE, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> nn.Module:
    return tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


COMMANDS: list[tuple[str | Path, ...]] = [
    ("harden", "--recipe", TINY),
    ("reproduce", "--budget", "10m"),
    ("evaluate", "own.py:build", "--threat", "linf:0.1"),
    ("certify", "own.py:build", "--threat", "linf:0.1"),
    ("attack", "own.py:build", "--threat", "linf:0.1", "--attack", "fgsm", "--out", "x.npz"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: str(words[0]))
def test_a_device_that_is_not_here_is_an_error_before_anything(
    words: tuple[str | Path, ...], tmp_path: Path, no_gpu: None
) -> None:
    (tmp_path / "own.py").write_text("raise SystemExit('this file was run')", encoding="utf-8")
    done = temper(*words, "--device", "cuda:1", folder=tmp_path)
    assert done.code == 2
    assert done.err == "error: device 'cuda:1': there is no CUDA device here: give auto or cpu\n"
    assert [path.name for path in tmp_path.iterdir()] == ["own.py"]
    assert temper(*words, "--batch-size", "0", folder=tmp_path).code == 2


CALLS: list[Callable[..., Any]] = [
    lambda **more: tp.harden(recipe=str(TINY), **more),
    lambda **more: tp.reproduce(budget="10m", **more),
    lambda **more: tp.resume("absent", **more),
    lambda **more: tp.evaluate(lambda x: x, None, "linf:0.1", **more),
    lambda **more: tp.certify(lambda x: x, None, "linf:0.1", **more),
    lambda **more: tp.attack(lambda x: x, None, "linf:0.1", "fgsm", **more),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("more", "told"),
    [({"device": "cuda"}, "device 'cuda'"), ({"batch_size": 0}, "batch_size = 0")],
)
def test_python_refuses_the_same(
    call: Callable[..., Any],
    more: dict[str, Any],
    told: str,
    no_gpu: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        call(**more)
    assert list(tmp_path.iterdir()) == []


def test_the_batch_size_changes_no_verdict(model: nn.Module) -> None:
    data = tp.data.load("digits").test.take(40)
    attacks = [tp.attacks.PGD(steps=3)]
    one, many = (
        tp.evaluate(model, data, "linf:0.1", attacks=attacks, batch_size=size, device="cpu")
        for size in (7, 256)
    )
    assert one.robust_correct == many.robust_correct
    assert one.certified_correct == many.certified_correct
    few, all_at_once = (
        tp.attack(model, data, "linf:0.1", "pgd:steps=3", batch_size=size) for size in (7, 256)
    )
    assert torch.equal(few.success, all_at_once.success)
    assert torch.allclose(few.x_adv, all_at_once.x_adv, atol=1e-5)
    certified = [
        tp.certify(model, data, "linf:0.03", methods="interval", batch_size=size)
        for size in (7, 256)
    ]
    assert certified[0].certified_correct == certified[1].certified_correct > 0


def test_the_batch_size_stands_in_the_record_and_reaches_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = nn.Linear.forward

    def watched(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return real(layer, x)

    monkeypatch.setattr(nn.Linear, "forward", watched)
    words = ("evaluate", "file.py:build", "--weights", "x.pth", "--data", "digits")
    more = ("--threat", "linf:0.1", "--samples", "20", "--attack", "fgsm", "--batch-size", "7")
    done = temper(*words, *more, "--name", "seven", folder=folder)
    assert done.code == 0, done.err
    records = load_records(folder / "runs" / "seven" / "records.jsonl")
    made = next(record for record in records if isinstance(record, Provenance))
    assert (made.batch_size, made.device) == (7, "cpu")
    assert seen.count(7) > 0


def test_an_engine_beside_a_device_is_refused(model: nn.Module) -> None:
    from tempering.core.engine import start_engine

    with pytest.raises(UsageError, match="beside an engine"):
        tp.evaluate(model, None, "linf:0.1", engine=start_engine("32-true"), device="cpu")
