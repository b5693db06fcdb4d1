"""Weights in files: they fit or they are refused, and no code in them ever runs."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tempering.core.errors import ModelError
from tempering.core.notes import TemperingWarning
from tempering.models.weights import fit_weights, read_weights, weights_hash


def net(hidden: int = 5) -> nn.Sequential:
    torch.manual_seed(hidden)
    return nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 2))


def written(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("w.safetensors", lambda state: dict(state)),
        ("w.pt", lambda state: state),
        ("w.pth", lambda state: {"state_dict": state, "epoch": 3}),
        ("w.pt", lambda state: {"model_state_dict": state}),
        ("w.pth", lambda state: {"ema": state, "model": "a name", "step": 3}),
    ],
)
def test_weights_come_back(tmp_path: Path, name: str, wrap: Callable[[dict], object]) -> None:
    model = net()
    path = written(tmp_path / name, wrap(model.state_dict()))
    twin = net()
    nn.init.zeros_(twin[0].weight)
    assert weights_hash(twin) != weights_hash(model)
    fit_weights(twin, read_weights(path), path)
    assert weights_hash(twin) == weights_hash(model)


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: prefixed("module.", state),
        lambda state: prefixed("module._orig_mod.", state),
        lambda state: {"state_dict": prefixed("model.", state)},
        lambda state: {"n_averaged": torch.tensor(3), **prefixed("module.", state)},
        lambda state: {**prefixed("online_model.", zeros(state)), **prefixed("ema_model.", state)},
    ],
    ids=["parallel", "compiled", "lightning", "averaged", "ema"],
)
def test_names_that_differ_by_the_prefix_of_a_wrapper_are_read(
    tmp_path: Path, wrap: Callable[[dict], dict]
) -> None:
    model, twin = net(), net()
    path = written(tmp_path / "w.pt", wrap(model.state_dict()))
    nn.init.zeros_(twin[0].weight)
    with pytest.warns(TemperingWarning, match=r"w\.pt: names begin with '.*\.' there"):
        fit_weights(twin, read_weights(path), path)
    assert weights_hash(twin) == weights_hash(model)


def test_a_wrapped_model_takes_plain_weights(tmp_path: Path) -> None:
    model, twin = net(), nn.DataParallel(net())
    path = written(tmp_path / "w.pt", model.state_dict())
    with pytest.warns(TemperingWarning, match=r"begin with 'module\.' in the model"):
        fit_weights(twin, read_weights(path), path)
    assert weights_hash(twin.module) == weights_hash(model)


def zeros(state: dict) -> dict:
    return {name: torch.zeros_like(value) for name, value in state.items()}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("make", ["zip", "legacy", "plain"])
@pytest.mark.parametrize("name", ["w.pt", "w.pth"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, make: str, name: str) -> None:
    sprung = tmp_path / "sprung"
    content = {**net().state_dict(), "extra": Trap(sprung)}
    path = tmp_path / name
    if make == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=make == "zip")
    with pytest.raises(ModelError, match=rf"{name} was refused: .*could run code when loaded"):
        read_weights(path)
    assert not sprung.exists()
    # the trap is a real one: it springs where code is allowed to run
    if make == "plain":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert sprung.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.97])
def test_truncated_files_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = written(tmp_path / f"w{suffix}", dict(net().state_dict()))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=rf"w{suffix} (is truncated|was refused)"):
        read_weights(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files_fail_in_one_way(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save(net().state_dict(), path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    refused = []
    for place in range(0, 600, 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read_weights(path)
        except ModelError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "contains Tensor, not a state dict"),
        ({}, "contains dict, not a state dict"),
        ({"epoch": 3}, "'epoch' is a int, not a tensor"),
        ({1: torch.ones(2)}, "1 is a Tensor"),
        ([1, 2], "contains list, not a state dict"),
    ],
)
def test_files_without_a_state_dict_are_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_weights(written(tmp_path / "w.pt", content))


@pytest.mark.parametrize("name", ["none.safetensors", "none.pt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"no weights at .*{name}"):
        read_weights(tmp_path / name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"w\.onnx of unknown type: give"):
        read_weights(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("1.running_var"), r"the file has no 1\.running_var, shape \(5,\)"),
        (
            lambda state: state.update({"2.weight": torch.ones(2, 6)}),
            r"2\.weight has shape \(2, 6\) in the file and \(2, 5\) in the model",
        ),
        (lambda state: state.update({"3.bias": torch.ones(7)}), r"no 3\.bias, shape \(7,\)"),
        (lambda state: state.clear(), r"the file has no 0\.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(
    change: Callable[[dict], object], message: str
) -> None:
    state = {name: torch.zeros_like(value) for name, value in net().state_dict().items()}
    change(state)
    model = net()
    before = weights_hash(model)
    with pytest.raises(ModelError, match=rf"mine\.pt does not fit the model: .*{message}"):
        fit_weights(model, state, Path("mine.pt"))
    assert weights_hash(model) == before


class WithState(nn.Linear):
    def get_extra_state(self) -> object:
        return {"anything": "goes"}

    def set_extra_state(self, state: object) -> None:
        pass


def test_a_model_that_keeps_more_than_tensors_is_refused() -> None:
    model = WithState(2, 2)
    assert weights_hash(model) != weights_hash(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="_extra_state in the model's state dict is a dict"):
        fit_weights(model, {}, Path("mine.pt"))
