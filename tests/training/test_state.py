"""Checkpoints: everything comes back, and nothing wrong comes in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tempering.core.errors import RunError
from tempering.training.state import LoopState, load_state, save_state
from tempering.training.step_values import StepState, Totals, copied
from tests.training.toys import network, round_, same

Trained = tuple[LoopState, StepState]


def trained(best: bool = True) -> Trained:
    weights = copied(network().state_dict())
    steps = StepState(
        weights=weights,
        average={name: tensor / 2 for name, tensor in weights.items()},
        moments={"1.weight/exp_avg": torch.rand(12, 9), "1.weight/step": torch.tensor(3.0)},
        step=3,
        rate=0.25,
        memory={"ids": torch.tensor([5, 2**62]), "loss": torch.tensor([0.5, 0.25])},
    )
    loop = LoopState(
        seconds=1.5,
        best={name: tensor / 3 for name, tensor in weights.items()} if best else {},
        best_round=0 if best else -1,
        history=[round_(0, 0.5)] if best else [],
        totals=Totals(loss=0.1, correct=2, seen=3, steps=4, scalars={"kl": (0.5, 4)}),
    )
    return loop, steps


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.safetensors"
    loop, steps = trained()
    save_state(path, "key", loop, steps)
    loaded, found_steps = load_state(path, "key")
    assert same(loaded.best, loop.best)
    assert replace(loaded, best={}) == replace(loop, best={})
    for name in ("weights", "average", "moments", "memory"):
        assert same(getattr(found_steps, name), getattr(steps, name)), name
    assert (found_steps.step, found_steps.rate) == (3, 0.25)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_first_checkpoint_has_no_best_round(tmp_path: Path) -> None:
    save_state(tmp_path / "one.safetensors", "key", *trained(best=False))
    loaded, _ = load_state(tmp_path / "one.safetensors", "key")
    assert (loaded.best, loaded.best_round, loaded.history) == ({}, -1, [])


def test_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    save_state(path, "key", *trained())
    with pytest.raises(RunError, match=r"one\.safetensors belongs to another recipe, model or"):
        load_state(path, "another")


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
    save_state(path, "key", *trained())
    damage(path, how)
    with pytest.raises(RunError, match=r"checkpoint .*one\.safetensors .*: start a new run") as e:
        load_state(path, "key")
    assert "\n" not in str(e.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        save_state(tmp_path / "file" / "one.safetensors", "key", *trained())
