"""Models that write into the images that they are given: neither data nor results change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.app.attack import attack_address
from tempering.app.certify import certify_address
from tempering.app.load_inputs import InputAddress, LoadedInputs
from tempering.certification.certify_samples import certify
from tempering.core.threats import Linf
from tempering.data import Dataset, Splits
from tests.app.running import TINY

Write = Callable[[Tensor], Tensor]
THREAT = Linf(0.05)


def standardise(x: Tensor) -> Tensor:
    return x.sub_(0.3).div_(0.35)


def clip(x: Tensor) -> Tensor:
    return x.clamp_(0.2, 0.8)


def assign(x: Tensor) -> Tensor:
    x[...] = 1 - x
    return x


def without_gradient(x: Tensor) -> Tensor:
    return x * 0.5 if x.requires_grad else x.mul_(0.5)


class Written(nn.Module):
    """A small network after something that writes into its images, or into copies of them."""

    def __init__(self, write: Write, copies: bool = False) -> None:
        super().__init__()
        self.write, self.copies = write, copies
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.write(x.clone() if self.copies else x))
        return logits


def in_place_layer(copies: bool) -> nn.Module:
    first = nn.Hardtanh(0.2, 0.8, inplace=not copies)
    return nn.Sequential(first, *Written(clip).net)


MODELS: dict[str, Callable[[bool], nn.Module]] = {
    write.__name__: lambda copies, write=write: Written(write, copies)  # type: ignore[misc]
    for write in (standardise, clip, assign, without_gradient)
} | {"in-place layer": in_place_layer}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def splits() -> Splits:
    """Images of float32, which are held as they are given; the brightest third says the class."""
    random = torch.Generator().manual_seed(1)
    x = torch.rand(120, 1, 8, 8, generator=random) * 0.4
    y = torch.arange(120) % 3
    for row, label in enumerate(y.tolist()):
        x[row, :, 3 * label : 3 * label + 2] += 0.5
    return Splits.of(Dataset.of(x, y))


def fitted(make: Callable[[bool], nn.Module], data: Splits) -> tuple[nn.Module, nn.Module]:
    """The model that writes and its twin that copies, with equal weights."""
    twin = make(True)
    optimizer = torch.optim.Adam(twin.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(data.train.x.clone()), data.train.y).backward()
        optimizer.step()
    model = make(False)
    model.load_state_dict(copy.deepcopy(twin.state_dict()))
    return model, twin


def hashes(data: Splits) -> list[str]:
    """Of what lies in memory now."""
    return [
        Dataset(part.x, part.y, part.classes, "now").content_hash for part in data.parts.values()
    ]


@pytest.mark.parametrize("write", [standardise, without_gradient])
def test_evaluations_of_it_and_of_its_twin_are_equal(write: Write) -> None:
    data = splits()
    model, twin = fitted(MODELS[write.__name__], data)
    before = hashes(data)
    expected, record = (
        tp.evaluate(net, data, THREAT, attacks="pgd:steps=3", samples=6) for net in (twin, model)
    )
    assert hashes(data) == before
    assert record.clean_correct == expected.clean_correct > 3
    assert record.robust_correct == expected.robust_correct
    assert {flag.name for flag in record.flags} == {flag.name for flag in expected.flags}


@every_model
def test_hardening_ends_with_the_weights_of_its_twin(make: Callable[[bool], nn.Module]) -> None:
    data = splits()
    model, twin = fitted(make, data)
    before = hashes(data)
    overrides = ["evaluation.curve=none", "evaluation.minimum_norm=none", "evaluation.samples=8"]
    overrides += ["evaluation.surrogate=false", "training.validation.samples=8"]
    expected, result = (
        tp.harden(net, data, THREAT, recipe=str(TINY), overrides=overrides, name=name)
        for net, name in ((twin, "twin"), (model, "model"))
    )
    assert hashes(data) == before
    assert result.record.robust_correct == expected.record.robust_correct
    ours, theirs = result.model.state_dict(), expected.model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@every_model
def test_attacks_and_certificates_are_those_of_its_twin(
    make: Callable[[bool], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = splits()
    model, twin = fitted(make, data)
    before, found = hashes(data), []
    for net in (twin, model):
        inputs = LoadedInputs(net, None, THREAT, data, 0)
        monkeypatch.setattr(InputAddress, "load", lambda _, inputs=inputs: inputs)
        address = InputAddress("model")
        attacked = attack_address(address, "pgd:steps=3", tmp_path / "x.npz", samples=16)
        certified = certify_address(address, samples=16)
        with np.load(tmp_path / "x.npz") as file:
            found.append((attacked, file["x"], file["x_adv"], certified.clean_correct))
        certify(net, data.test.x, data.test.y, THREAT)
    assert hashes(data) == before
    (expected, *arrays), (ours, *others) = found
    assert ours == expected
    assert all(np.array_equal(one, other) for one, other in zip(arrays, others, strict=True))
