"""Data, threats, attacks and numbers as people give them from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import tempering as tp
from tempering.app.python_inputs import as_attacks, as_data, as_model, as_splits, as_threat
from tempering.core.errors import DataError, ModelError, TemperingError
from tempering.core.records import Assessment

X, Y = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


class Named(TensorDataset):
    """Images whose labels are names."""

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return X[row], "cat"


def counts(found: Assessment) -> tuple[int, int]:
    return found.clean_correct, found.robust_correct


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X[:, 0], Y),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), 7),
        tp.data.Dataset.of(X, Y),
    ],
    ids=["pair", "list", "numpy", "no channels", "dataset", "loader", "ours"],
)
def test_data_of_any_form_is_the_same_data(data: Any) -> None:
    held = as_data(data)
    assert held.content_hash == tp.data.Dataset.of(X, Y).content_hash
    found = tp.evaluate(net(), data, "linf:8/255", attacks="fgsm")
    assert counts(found) == counts(tp.evaluate(net(), (X, Y), tp.Linf(8 / 255), attacks=["fgsm"]))
    assert len(as_splits(data).test) == 5


class Items(TorchDataset):  # type: ignore[type-arg]
    """Images in some form, one by one."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        self.form = form

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return self.form(X[row]), int(Y[row])


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X.numpy(), Y.tolist()),
        (X[:, 0].tolist(), Y),
        TensorDataset(X, Y),
        Items(lambda x: x),
        Items(lambda x: x.numpy()),
        DataLoader(TensorDataset(X, Y), 7),
        DataLoader(Items(lambda x: x), 5, shuffle=True),
        Subset(TensorDataset(torch.cat([X, X]), torch.cat([Y, Y])), list(range(12, 36))),
        ConcatDataset([TensorDataset(X[:10], Y[:10]), TensorDataset(X[10:], Y[10:])]),
        tp.data.Dataset.of(X, Y),
        tp.data.Splits.of(tp.data.Dataset.of(X, Y)),
        tp.data.Splits.of(tp.data.Dataset.of(X[:15], Y[:15]), tp.data.Dataset.of(X[15:], Y[15:])),
    ],
    ids=lambda data: type(data).__name__,
)
def test_parts_of_every_kind_of_data_share_no_image(data: Any) -> None:
    splits = as_splits(data)
    parts = [part.pixels.numpy() for part in splits.parts.values()]
    shown = [image.tobytes() for part in parts for image in part]
    assert sorted(shown) == sorted(image.tobytes() for image in X.numpy())
    names = [name for part in splits.parts.values() for name in part.ids.names]
    assert len(set(names)) == len(names) == 24


def test_bytes_are_scaled() -> None:
    levels = (255 * X).round().to(torch.uint8)
    assert torch.equal(as_data((levels, Y)).x, levels.float() / 255)


@pytest.mark.parametrize(
    ("attacks", "labels"),
    [
        (None, None),
        ("fgsm", ["fgsm"]),
        (tp.attacks.FGSM(), ["fgsm"]),
        (["pgd:steps=3", tp.attacks.FGSM()], ["pgd-3", "fgsm"]),
    ],
)
def test_attacks_are_values_or_names(attacks: Any, labels: list[str] | None) -> None:
    held = as_attacks(attacks)
    assert (held and [one.label() for one in held]) == labels


def test_threats_are_values_or_text() -> None:
    assert as_threat("linf:8/255") == as_threat(tp.Linf(8 / 255)) == tp.Linf(8 / 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": 3}, "data of type int: give a pair"),
        ({"data": (X, Y, Y)}, "data of type tuple: give a pair"),
        ({"data": (X, "labels")}, "labels are text, such as 'labels'"),
        ({"data": (X, ["cat"] * 24)}, "labels are text, such as 'cat': give class indices"),
        ({"data": (X, Y[:3])}, "3 labels for 24 images|24 images"),
        ({"data": Named(X)}, "labels are text, such as 'cat': give class indices"),
        ({"data": TensorDataset(X)}, "an item of type tuple in the data"),
        ({"threat": 0.3}, "threat 0.3: give a value"),
        ({"threat": "linf"}, "linf"),
        ({"attacks": 3}, "attacks = 3: give a list of attacks"),
        ({"attacks": [3]}, "attack 3: give a value"),
        ({"attacks": "fgms"}, "did you mean fgsm"),
        ({"model": None}, "the model is NoneType, no network: give a torch.nn.Module"),
        ({"model": nn.Flatten}, "is Flatten, a class: give an instance, Flatten"),
        ({"seed": "a"}, "seed = 'a': give a whole number"),
        ({"seed": -1}, "seed = -1: give a whole number of at least 0"),
        ({"samples": 2.5}, "samples = 2.5: give a whole number"),
        ({"seconds": "a"}, "seconds = 'a': give a finite number"),
        ({"compare": 3}, "3 as a path: give text"),
        ({"corruptions": 3}, "corruptions = 3: give a list of texts"),
        ({"surrogate": 3}, "the model is int, no network"),
        ({"subset": "last"}, "subset 'last': give one of stratified, first"),
    ],
)
def test_anything_else_is_named_in_one_line(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": net(), "data": (X, Y), "threat": "linf:0.1", **change}
    with pytest.raises(TemperingError, match=message) as caught:
        tp.evaluate(given.pop("model"), given.pop("data"), given.pop("threat"), **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": 3}, "recipe = 3: give a recipe, its name, or the path"),
        ({"overrides": 3}, "overrides = 3: give a list of texts"),
        ({"objective": 3}, "objective = 3: give a value, or its name"),
        ({"seed": "a"}, "seed = 'a': give a whole number"),
        ({"samples": "a"}, r"evaluation\.samples = 'a': give a whole number"),
        ({"runs": 3}, "3 as a path: give text"),
        ({"attacks": 3}, "attacks = 3: give a list of attacks"),
        ({"model": "net"}, "the model is str, no network"),
    ],
)
def test_hardening_names_what_is_wrong_in_one_line(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": net(), "data": (X, Y), "threat": "linf:0.1", **change}
    with pytest.raises(TemperingError, match=message) as caught:
        tp.harden(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": 3}, "methods = 3: give a list of texts"),
        ({"methods": "crwn"}, "did you mean crown"),
        ({"smoothing": "a"}, "smoothing = 'a': give a finite number"),
        ({"seed": 2.5}, r"seed = 2\.5: give a whole number"),
    ],
)
def test_certification_names_what_is_wrong_in_one_line(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TemperingError, match=message):
        tp.certify(net(), (X, Y), "l2:0.1", **change)


def test_a_model_is_certified_and_attacked_from_python(tmp_path: Path) -> None:
    found = tp.certify(net(), (X, Y), "linf:0.001", methods="interval", samples=12)
    assert (found.n, found.model, list(found.by_method)) == (12, "Sequential", ["interval"])
    smoothed = tp.certify(net(), (X, Y), "l2:0.1", smoothing=0.25, samples=2)
    assert smoothed.of == "smoothed"
    done = tp.attack(net(), (X, Y), "linf:0.1", "pgd:steps=3", samples=12, out=tmp_path / "o.npz")
    assert done.x_adv.shape == (12, 1, 8, 8)
    assert bool(tp.Linf(0.1).contains(done.x_adv, done.data.x).all())
    assert torch.equal(done.success, net()(done.x_adv).argmax(1) != done.data.y)
    assert repr(done).startswith("Attacked(pgd-3, linf:0.1: success on ")
    assert np.array_equal(np.load(tmp_path / "o.npz")["x_adv"], done.x_adv.numpy())
    aimed = tp.attack(net(), (X, Y), tp.Linf(0.45), tp.attacks.FGSM(), targets=1)
    assert aimed.targets is not None
    assert bool((aimed.data.y != 1).all())


def test_attacks_take_functions_and_name_what_is_no_threat() -> None:
    pgd, model = tp.attacks.PGD(steps=2), net()
    x_adv = pgd(lambda x: model(x), X, Y, "linf:0.1")  # type: ignore[arg-type]
    assert torch.equal(x_adv, pgd(model, X, Y, "linf:0.1"))
    with pytest.raises(TemperingError, match="threat None: give a value, or text"):
        pgd(model, X, Y, None)  # type: ignore[arg-type]
    with pytest.raises(TemperingError, match="3 as a path: give text"):
        tp.compare_runs(3, "b")  # type: ignore[arg-type]
    with pytest.raises(TemperingError, match="engine = 'cuda': give an Engine"):
        tp.evaluate(model, (X, Y), "linf:0.1", engine="cuda")  # type: ignore[arg-type]


def test_images_of_other_shapes_are_named() -> None:
    pairs = [(torch.rand(1, 8, 8), 0), (torch.rand(1, 8, 9), 1)]
    with pytest.raises(DataError, match=r"image 1 has shape \(1, 8, 9\) and image 0 \(1, 8, 8\)"):
        as_data(DataLoader(pairs, 1))  # type: ignore[arg-type]


def test_a_function_cannot_be_hardened() -> None:
    with pytest.raises(ModelError, match="function, which has no weights to train"):
        tp.harden(lambda x: x, (X, Y), "linf:0.1")  # type: ignore[arg-type]
    assert np.isfinite(float(as_model(lambda x: x.flatten(1))(X).sum()))


def test_the_version_is_that_of_the_package() -> None:
    assert tp.__version__.count(".") == 2
