"""Checkpoints: everything comes back, and nothing wrong comes in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tempering.core.errors import RunError
from tempering.training.state import Running, TrainingState, copied, load_state, save_state
from tests.training.toys import dataset, network, round_, same

Trained = tuple[nn.Sequential, torch.optim.AdamW, TrainingState]


def trained(seed: int = 0, steps: int = 3) -> Trained:
    model = network(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    data = dataset()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.eval()(data.x), data.y).backward()
        optimizer.step()
    state = TrainingState(
        average={name: tensor / 2 for name, tensor in copied(model.state_dict()).items()},
        step=steps,
        seconds=1.5,
        rate=0.25,
        best={name: tensor / 3 for name, tensor in copied(model.state_dict()).items()},
        best_round=0,
        history=[round_(0, 0.5)],
        running=Running(loss=0.1, correct=2, seen=3, steps=4),
    )
    return model, optimizer, state


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{number}/{name}": torch.as_tensor(value)
        for number, parameter in enumerate(optimizer.param_groups[0]["params"])
        for name, value in optimizer.state[parameter].items()
    }


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.safetensors"
    model, optimizer, state = trained()
    save_state(path, "key", state, model, optimizer)
    other = network(7)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.01)
    found = load_state(path, "key", other, other_optimizer)
    assert same(found.average, state.average)
    assert same(found.best, state.best)
    assert same(other.state_dict(), model.state_dict())
    assert len(moments(optimizer)) == 3 * 4
    assert same(moments(other_optimizer), moments(optimizer))
    kept = {"average": {}, "best": {}}
    assert replace(found, **kept) == replace(state, **kept)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_first_checkpoint_has_no_best_round(tmp_path: Path) -> None:
    model, optimizer, state = trained(steps=0)
    first = TrainingState(average=state.average)
    save_state(tmp_path / "one.safetensors", "key", first, model, optimizer)
    found = load_state(tmp_path / "one.safetensors", "key", model, optimizer)
    assert (found.best, found.best_round, found.history, found.step) == ({}, -1, [], 0)


def test_another_training_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    save_state(path, "key", trained()[2], *trained()[:2])
    model, optimizer, _ = trained(seed=1, steps=0)
    before = copied(model.state_dict())
    with pytest.raises(RunError, match=r"one\.safetensors belongs to another recipe, model or"):
        load_state(path, "another", model, optimizer)
    assert same(before, copied(model.state_dict()))


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "text":
            path.write_text("no checkpoint at all", encoding="utf-8")
        case "one bit":
            path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
        case "no state":
            save_file(load_file(path), path)
        case "no key":
            save_file(load_file(path), path, {"state": json.dumps({"step": 3})})
        case "no JSON":
            save_file(load_file(path), path, {"state": "{"})


@pytest.mark.parametrize(
    "how", ["empty", "truncated", "text", "one bit", "no state", "no key", "no JSON"]
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, how: str) -> None:
    path = tmp_path / "one.safetensors"
    model, optimizer, state = trained()
    save_state(path, "key", state, model, optimizer)
    damage(path, how)
    with pytest.raises(RunError, match=r"checkpoint .*one\.safetensors .*: start a new run") as e:
        load_state(path, "key", model, optimizer)
    assert "\n" not in str(e.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model, optimizer, state = trained()
    with pytest.raises(RunError, match="cannot write"):
        save_state(tmp_path / "file" / "one.safetensors", "key", state, model, optimizer)
