"""Devices by name: what is not here is refused in one line."""

from __future__ import annotations

import pytest
import torch

from tempering.core.devices import Device, parse_device
from tempering.core.engine import start_engine
from tempering.core.errors import UsageError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_here_is_refused(name: str, none: None) -> None:
    with pytest.raises(UsageError, match=r"give auto or cpu") as caught:
        parse_device(name)
    assert repr(name) in str(caught.value)
    assert parse_device("auto") == parse_device("cpu") == Device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:", "cuda:-1", "", 3, None])
def test_an_unknown_name_is_refused(name: object) -> None:
    with pytest.raises(UsageError, match="give auto, cpu, cuda, cuda:0 or mps"):
        parse_device(name)


def test_a_gpu_is_taken_by_its_number(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_device("auto") == parse_device("cuda") == Device("cuda")
    assert parse_device(torch.device("cuda", 1)) == Device("cuda", 1)
    with pytest.raises(UsageError, match=r"'cuda:2': there is cuda:0 to cuda:1 here"):
        parse_device("cuda:2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one for each"):
        parse_device("cuda:1")


def test_the_engine_is_on_the_device() -> None:
    assert start_engine("32-true", "cpu").device == torch.device("cpu")
