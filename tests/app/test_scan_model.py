"""`temper scan model` and `scan_model`: what they find, write and refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import tempering as tp
from tempering.app.networks import architecture_of
from tempering.core.errors import DataError, ModelError, NoGradientError, UsageError
from tempering.core.model_scan_records import ModelScan
from tempering.core.random import RandomStreams
from tempering.data.splits import Splits
from tempering.models.manifest import Manifest
from tempering.models.store import load, save
from tempering.poisoning import BadNets, Truth
from tempering.poisoning.small_network import small_network
from tests.app.running import temper
from tests.poisoning.models.planted import TARGET, backdoored, clean_network, images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with a backdoor, clean data, and the truth."""
    folder = tmp_path_factory.mktemp("scan")
    train, clean, test = images().train, images().clean, images().test
    np.savez(
        folder / "data.npz",
        x_train=train.pixels[:10],
        y_train=train.y[:10],
        x_val=clean.pixels,
        y_val=clean.y,
        x_test=test.pixels,
        y_test=test.y,
    )
    manifest = Manifest(
        architecture=architecture_of(backdoored()),
        classes=list(train.classes),
        shape=train.shape,
        threat="linf:0.1",
        data="npz:data.npz",
        data_hash="",
        split="official",
        seed=0,
    )
    save(backdoored(), folder / "model", manifest)
    save(clean_network(), folder / "honest", manifest)
    some = train.first(50)
    poisoned = BadNets(target=TARGET).poison(some, 0.1, RandomStreams.of(0, 50))
    Truth.of(poisoned, "badnets:target=7").save(folder / "truth.npz")
    return folder


def test_a_backdoor_is_found_shown_and_repaired(folder: Path) -> None:
    words = ("--data", "npz:data.npz", "--trigger", "truth.npz", "--steps", "100", "--json")
    done = temper(
        "scan", "model", "model", *words, "--out", "out", "--repair", "fixed", folder=folder
    )
    assert done.code == 0, done.err
    scan = ModelScan.model_validate(done.json())
    assert [trigger.target for trigger in scan.suspects] == [TARGET]
    assert (scan.samples, scan.tested) == (500, 400)
    assert scan.truth is not None
    assert scan.truth.fraction > 0.9
    repair = scan.repair
    assert repair is not None
    assert repair.truth is not None
    assert repair.truth.after.fraction < 0.1
    assert repair.found[str(TARGET)].after.fraction < 0.1
    assert repair.clean.after.fraction > repair.clean.before.fraction - 0.02
    assert repair.suspects_left == []
    assert (scan.verdict, scan.repaired, scan.not_repaired) == ("backdoor found", "fixed", None)
    assert json.loads((folder / "out" / "scan.json").read_text()) == done.json()
    page = (folder / "out" / "scan.html").read_text()
    assert "backdoor found: class 7" in page
    assert page.count("data:image/png;base64,") == 20
    with np.load(folder / "out" / "triggers.npz") as arrays:
        assert arrays["mask"].shape == (10, 28, 28)
    fixed = load(folder / "fixed").model
    hits = int((fixed(images().test.x).argmax(1) == images().test.y).sum())
    assert hits == repair.clean.after.hits


def test_a_clean_model_comes_out_as_such_and_is_not_repaired(tmp_path: Path) -> None:
    held = images()
    data = Splits("npz:x", "official", held.train.first(10), held.clean, held.test)
    done = tp.scan_model(clean_network(), data, repair="both", steps=60, out=tmp_path / "out")
    assert done.record.verdict == "no backdoor found"
    assert (done.record.repair, done.repaired) == (None, None)
    assert "no backdoor found" in (tmp_path / "out" / "scan.html").read_text()
    with pytest.raises(UsageError, match="no backdoor found: leave it out"):
        done.save_repaired(tmp_path / "fixed")


def test_a_repair_that_is_not_made_is_said_in_json_and_on_the_terminal(folder: Path) -> None:
    words = ("scan", "model", "honest", "--data", "npz:data.npz", "--steps", "15")
    why = "no backdoor found: no trigger to unlearn, so no model was written"
    done = temper(*words, "--repair", "none", "--json", folder=folder)
    assert done.code == 0, done.err
    held = done.json()
    assert (held["verdict"], held["repaired"]) == ("no backdoor found", None)
    assert held["not_repaired"] == why
    said = temper(*words, "--repair", "none", "--out", "honest-scan", folder=folder)
    assert (said.code, f"repair          {why}" in said.out) == (0, True)
    assert "no model was written" in (folder / "honest-scan" / "scan.html").read_text()
    assert not (folder / "none").exists()
    unasked = temper(*words, "--json", folder=folder).json()
    assert (unasked["repaired"], unasked["not_repaired"]) == (None, None)


def few_digits(planted: bool) -> tuple[nn.Module, tp.data.Dataset]:
    """A network for four digits, with a backdoor or without, and clean images."""
    held = images()
    parts = [part.keep(part.y < 4) for part in (held.train, held.test)]
    train, clean = (replace(part, classes=part.classes[:4]) for part in parts)
    if planted:
        train = BadNets(target=1).poison(train, 0.05, RandomStreams(1, train.ids.keys)).data
    return small_network(train, 0), clean


def test_a_backdoor_is_found_among_four_classes() -> None:
    model, clean = few_digits(planted=True)
    done = tp.scan_model(model, clean, steps=100)
    assert [trigger.name for trigger in done.record.suspects] == ["1"]
    assert done.record.finding == "backdoor found: class 1"
    assert done.record.ratio < 0.25


def test_a_clean_model_of_four_classes_cannot_be_judged(tmp_path: Path) -> None:
    model, clean = few_digits(planted=False)
    done = tp.scan_model(model, clean, steps=100, repair="unlearning", out=tmp_path / "out")
    assert (done.record.verdict, done.backdoor, done.record.judged) == ("cannot tell", False, False)
    assert done.record.ratio > 0.25
    page = (tmp_path / "out" / "scan.html").read_text()
    assert "cannot tell: 4 classes are too few to compare" in page
    assert "this says nothing of the model" in page
    assert "index from" not in page


def test_too_few_classes_to_tell_have_an_exit_code_of_their_own(tmp_path: Path) -> None:
    x, y = toy()
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y.numpy())
    (tmp_path / "my.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n"
    )
    save_file(linear().state_dict(), tmp_path / "w.safetensors")
    words = ("my.py:build", "--weights", "w.safetensors", "--data", "npz:data.npz", "--steps", "5")
    said = temper("scan", "model", *words, folder=tmp_path)
    assert said.code == 4, said.err
    assert "finding         cannot tell: 3 classes are too few to compare" in said.out
    assert "size ratio" in said.out
    assert "anomaly index" not in said.out
    repair = ("--repair", "fixed", "--method", "unlearning")
    held = temper("scan", "model", *words, *repair, "--json", folder=tmp_path)
    assert held.code == 4
    assert held.json()["verdict"] == "cannot tell"
    assert held.json()["not_repaired"].startswith("cannot tell: 3 classes")


def linear(outputs: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))


def toy(n: int = 40) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 4, 4, generator=draw), torch.arange(n) % 3


def test_models_that_return_probabilities_or_are_functions_are_scanned_too() -> None:
    net = linear()
    plain = tp.scan_model(net, toy(), steps=20)
    soft = tp.scan_model(nn.Sequential(net, nn.Softmax(1)), toy(), steps=20)
    function = tp.scan_model(lambda x: net(x), toy(), steps=20)
    sizes = [[trigger.size for trigger in done.triggers] for done in (plain, soft, function)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)
    assert sizes[0] == sizes[2]


def test_the_model_that_was_given_and_torch_stay_as_they_are() -> None:
    net = _hidden().train()
    before = [tensor.clone() for tensor in net.state_dict().values()]
    state = torch.get_rng_state()
    done, again = (tp.scan_model(net, toy(), repair="fine-pruning", steps=5) for _ in range(2))
    assert net.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))
    assert done.repaired is not None
    assert again.repaired is not None
    same = zip(done.repaired.parameters(), again.repaired.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


def _hidden() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def test_wrong_input_from_python_is_refused(tmp_path: Path) -> None:
    x, y = toy()
    with pytest.raises(NoGradientError, match="no gradient"):
        tp.scan_model(lambda x: linear()(x.detach()).detach(), (x, y))
    one = tp.data.Dataset.of(x, torch.zeros_like(y), ["a", "b", "c"])
    with pytest.raises(DataError, match="all images of arrays are of class a"):
        tp.scan_model(linear(), one)
    with pytest.raises(ModelError, match=r"fails on images of shape \(1, 5, 5\)"):
        tp.scan_model(linear(), (torch.rand(40, 1, 5, 5), y))
    with pytest.raises(UsageError, match=r"samples of arrays, which has 20 to work with"):
        tp.scan_model(linear(), (x, y), samples=0)
    with pytest.raises(ModelError, match="is a function, which has no weights to train"):
        tp.scan_model(lambda x: x.flatten(1)[:, :3], (x, y), repair="both")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match=r"out for the scan exists"):
        tp.scan_model(linear(), (x, y), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--samples", "0"), 2, "--samples 0: give at least 1"),
        (("--steps", "0"), 2, "--steps 0: give at least 1"),
        (("--samples", "9999"), 2, "9999 samples of"),
        (("--out", "model"), 2, "--out model exists"),
        (("--repair", "model"), 2, "--repair model exists"),
        (("--out", "a", "--repair", "a"), 2, "--out and --repair are both a"),
        (("--method", "both"), 2, "--method both without --repair"),
        (("--repair", "a", "--method", "magic"), 2, "unknown method 'magic'"),
        (("--trigger", "no.npz"), 1, "no file no.npz"),
        (("--data", "npz:none.npz"), 1, "no file none.npz"),
        (("--data", "digits"), 1, "fails on images of shape"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(
    folder: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    before = {path.name for path in folder.iterdir()}
    data = () if "--data" in words else ("--data", "npz:data.npz")
    done = temper("scan", "model", "model", *data, *words, folder=folder)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before
