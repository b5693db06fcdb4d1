"""A gray-box attacker without a model trains one: on training data, from the seed, once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tempering as tp
from tempering.app import surrogate as module
from tempering.app.folder import RunFolder
from tempering.app.surrogate import SurrogateConfig, TrainedSurrogate, train_surrogate
from tempering.core.engine import start_engine
from tempering.core.errors import ModelError, UsageError
from tempering.core.passes import counted
from tempering.core.records import Surrogate, load_records
from tempering.data.splits import Splits
from tempering.report.wording import whole as whole_number
from tempering.training.learner import Learner
from tests.app.running import started, temper, wait_until
from tests.app.test_evaluate import MINE, trained

STEPS = 40


@pytest.fixture(scope="module")
def data() -> Splits:
    return tp.data.load("digits")


def owned(
    data: Splits, folder: Path | None = None, seed: int = 0, steps: int = STEPS
) -> TrainedSurrogate:
    room = None if folder is None else RunFolder(folder)
    engine = start_engine("32-true")
    return train_surrogate(seed, data, engine, room, config=SurrogateConfig(steps=steps))


def test_it_learns_from_training_data_and_says_so(data: Splits) -> None:
    with counted() as passes:
        found = owned(data)
    assert (passes.forward, passes.backward) == (0, 0)
    record = found.record
    assert (record.samples, record.steps) == (len(data.train), STEPS)
    assert record.weights == tp.models.weights_hash(found.model)
    with torch.no_grad():
        right = int((found.model(data.validation.x).argmax(1) == data.validation.y).sum())
    assert (record.validation.hits, record.validation.n) == (right, len(data.validation))
    assert record.validation.fraction > 0.3  # a guess would be right in 1 of 10
    assert not found.model.training


def test_test_data_change_nothing_and_training_data_do(data: Splits) -> None:
    first = owned(data).record
    blank = replace(data, test=replace(data.test, pixels=torch.zeros_like(data.test.x)))
    assert owned(blank).record == first
    fewer = replace(data, train=data.train.first(200))
    assert owned(fewer).record.weights != first.weights
    assert owned(data, seed=1).record.weights != first.weights


def no_step(*_: object) -> None:
    raise AssertionError("trained again")


def test_in_a_folder_it_is_trained_once(
    data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = owned(data, tmp_path)
    monkeypatch.setattr(Learner, "update", no_step)
    again = owned(data, tmp_path)
    assert again.record == first.record


def test_it_keeps_to_its_share_of_the_time(data: Splits) -> None:
    long, engine = SurrogateConfig(steps=100_000), start_engine("32-true")
    found = train_surrogate(0, data, engine, seconds=3.0, config=long)
    assert 10 <= found.record.steps < 100_000


def test_images_that_are_too_small_are_named(data: Splits) -> None:
    def small(name: str) -> dict[str, object]:
        part = getattr(data, name)
        return {name: replace(part, pixels=part.x[..., :3, :3].contiguous())}

    tiny = replace(data, **small("train"), **small("validation"), **small("test"))
    with pytest.raises(ModelError, match=r"no surrogate can be trained: .*or a --surrogate"):
        owned(tiny)


def test_test_data_alone_train_no_surrogate(data: Splits) -> None:
    model = tp.models.build("strided_cnn", (1, 8, 8), 10, seed=0, adversarial_class=False)
    for access in ("gray", "all"):
        with pytest.raises(UsageError, match=f"access '{access}' with neither a surrogate nor"):
            tp.evaluate(model, data.test, tp.Linf(0.1), access=access, samples=5)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation whose surrogate takes a few steps."""
    real: Callable[..., TrainedSurrogate] = module.train_surrogate
    monkeypatch.setattr(
        "tempering.app.evaluation_setup.train_surrogate",
        lambda *given: real(*given, config=SurrogateConfig(steps=STEPS)),
    )


def test_the_function_trains_on_the_splits_it_is_given(data: Splits, short: None) -> None:
    model = tp.models.build("strided_cnn", (1, 8, 8), 10, seed=0, adversarial_class=False)
    found = tp.evaluate(model, data, tp.Linf(0.1), access="gray", samples=20, seconds=100)
    assert found.surrogate is not None
    assert found.surrogate.samples == len(data.train)
    assert all("gray-box" in name for name in found.by_attack)


WORDS = ("evaluate", "file.py:build", "--weights", "x.pth", "--data", "digits", "--json")
MORE = ("--threat", "linf:0.1", "--samples", "6", "--access", "gray")


def test_a_resumed_evaluation_trains_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.py").write_text(MINE, encoding="utf-8")
    trained(tmp_path)
    run = tmp_path / "runs" / "cut"
    words = (*WORDS, *MORE)
    with started(*words, "--name", "cut", folder=tmp_path) as process:
        wait_until(process, lambda: any(run.glob("checkpoint/measured-undecided-gray*")))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (run / "summary.json").exists()
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "update", no_step)
        again = temper(*words, "--resume", run, folder=tmp_path)
    assert again.code == 0, again.err
    found = again.json()
    (record,) = [one for one in load_records(run / "records.jsonl") if isinstance(one, Surrogate)]
    assert found["surrogate"] == record.model_dump(mode="json")
    assert record.validation.fraction > 0.9
    whole = temper(*words, folder=tmp_path)
    assert "training surrogate" in whole.err
    assert whole.json()["surrogate"] == found["surrogate"]
    page = (run / "report.md").read_text(encoding="utf-8")
    assert (
        f"for {record.steps} steps on {whole_number(record.samples)} training images"
        in " ".join(page.split())
    )
    assert whole.json()["robust_correct"] == found["robust_correct"]
