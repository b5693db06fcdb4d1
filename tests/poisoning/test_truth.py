from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tempering.core.errors import DataError, UsageError
from tempering.data import Dataset
from tempering.poisoning import POISONS, Trigger, Truth, parse_poison, read_truth
from tests.poisoning.test_poisons import made


@pytest.mark.parametrize("name", POISONS)
def test_the_truth_is_read_as_it_was_written(
    name: str, tmp_path: Path, data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    done = made(name, data, test_data, network)
    Truth.of(done, name).save(tmp_path / "truth.npz")
    truth = read_truth(tmp_path)
    assert truth.attack == name
    assert truth.ids == data.ids.names
    assert truth.target == done.target
    assert torch.equal(truth.poisoned, done.poisoned)
    assert torch.equal(truth.cover, done.cover)
    assert torch.equal(truth.y_clean, data.y)
    assert truth.detail.keys() == done.detail.keys()
    if done.trigger is None:
        assert truth.trigger is None
    else:
        assert truth.trigger is not None
        assert torch.equal(truth.trigger.stamp(data.x), done.trigger.stamp(data.x))
    if done.victims is not None:
        assert truth.victims is not None
        assert torch.equal(truth.victims.pixels, done.victims.pixels)
        assert truth.victims.ids.names == done.victims.ids.names


def test_it_is_plain_arrays_that_anyone_can_read(tmp_path: Path, data: Dataset) -> None:
    Truth.of(parse_poison("badnets").poison(data, 0.1), "badnets").save(tmp_path / "truth.npz")
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as arrays:
        assert arrays["poisoned"].sum() == 12
        assert arrays["trigger"].shape == (1, 8, 8)
        assert arrays["trigger_mask"].sum() == 9
        assert arrays["target"] == 0


def test_what_is_no_truth_is_refused(tmp_path: Path, data: Dataset) -> None:
    with pytest.raises(DataError, match=r"no file .*truth\.npz: give a folder made by temper"):
        read_truth(tmp_path)
    file = tmp_path / "truth.npz"
    file.write_text("words")
    with pytest.raises(DataError, match="it is a text file"):
        read_truth(file)
    np.savez(file, poisoned=np.zeros(3, bool))
    with pytest.raises(DataError, match="has no array cover"):
        read_truth(file)
    Truth.of(parse_poison("badnets").poison(data, 0.1), "badnets").save(file)
    with np.load(file) as arrays:
        held = dict(arrays)
    np.savez(file, **{name: value for name, value in held.items() if name != "trigger_mask"})
    with pytest.raises(DataError, match="the trigger lacks an array"):
        read_truth(file)
    np.savez(file, **(held | {"trigger_kind": np.array("smoke")}))
    with pytest.raises(DataError, match="a trigger of kind 'smoke'"):
        read_truth(file)


def test_a_trigger_of_ones_own_works_but_is_not_saved(tmp_path: Path, data: Dataset) -> None:
    class Negative(Trigger):
        def change(self, x: torch.Tensor) -> torch.Tensor:
            return 1 - x

        @property
        def size(self) -> tuple[int, ...]:
            return (8, 8)

    from dataclasses import replace

    done = parse_poison("badnets").poison(data, 0.1)
    own = replace(done, trigger=Negative(torch.zeros(1)))
    with pytest.raises(UsageError, match="a trigger of type Negative cannot be saved"):
        Truth.of(own, "own").save(tmp_path / "truth.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("target", np.array([1, 2]), r"array target is int64 of shape \(2,\), not int64"),
        ("target", np.array(-7), "target is -7"),
        ("cover", np.zeros(3, bool), "array cover is bool of shape"),
        ("poisoned", np.full(120, np.nan), "array poisoned is float64"),
        ("y_clean", np.full(120, -1), "y_clean is -1"),
        ("trigger", np.full((1, 8, 8), np.nan, np.float32), "array trigger is not of finite"),
        ("trigger", np.array("abc"), "array trigger is not of finite numbers"),
        ("trigger_mask", np.ones((3, 5), np.float32), "the trigger fits no image"),
        ("trigger_mask", np.ones((2, 1, 8, 8), np.float32), "the trigger makes no images of"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    name: str, values: np.ndarray, told: str, tmp_path: Path, data: Dataset
) -> None:
    file = tmp_path / "truth.npz"
    Truth.of(parse_poison("badnets").poison(data, 0.1), "badnets").save(file)
    with np.load(file) as arrays:
        held = dict(arrays)
    np.savez(file, **(held | {name: values}))
    with pytest.raises(DataError, match=told):
        read_truth(file)
