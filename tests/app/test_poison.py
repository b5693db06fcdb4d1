"""`temper poison` and `tempering.poison`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tempering as tp
from tempering.core.errors import TemperingError
from tempering.poisoning import read_truth
from tests.app.running import Done, temper

OWN = """
import torch
from dataclasses import dataclass
from tempering.poisoning import Crafted, Overlay, Poison

@dataclass(frozen=True)
class Frame(Poison):
    name = "frame"
    triggered = True
    target: int | str = 0
    white: float = 1.0

    def craft(self, task):
        target = task.class_index(self.target, "target")
        mask = torch.zeros(task.data.shape[1:])
        mask[0] = mask[-1] = 1
        trigger = Overlay(torch.full(task.data.shape, self.white), mask)
        rows = task.choose_others(target)
        y = torch.full_like(rows, target)
        return Crafted(rows, trigger.stamp(task.images(rows)), y, trigger, target)

class Broken(Poison):
    name = "broken"
    def craft(self, task):
        return task.nothing

frame = Frame(target=2)
number = 3

class Lit(torch.nn.Module):
    "Says class 1 where the upper left pixel is white."
    def forward(self, x):
        lit = (x[:, 0, 0, 0] > 0.9).float()
        return torch.stack([1 - lit, lit] + [0 * lit] * 8, 1)

def lit():
    return Lit()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def refused(done: Done, message: str) -> None:
    assert done.code in (1, 2), done.err
    assert done.out == ""
    assert re.fullmatch(r"error: .+\n", done.err), done.err
    assert re.search(message, done.err), done.err


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"my.py", "__pycache__"}


def test_the_data_is_read_again_with_the_truth_beside_it(folder: Path) -> None:
    words = ("poison", "digits", "--attack", "badnets:target=3", "--share", "0.05", "--json")
    done = temper(*words, "--out", "bad", folder=folder)
    assert done.code == 0, done.err
    told = done.json()
    source = tp.data.load("digits")
    data = tp.data.load(f"npz:{folder / 'bad' / 'data.npz'}")
    truth = read_truth(folder / "bad")
    changed = (data.train.pixels != source.train.pixels).flatten(1).any(1)
    assert torch.equal(truth.poisoned, changed)
    assert told["poisoned"] == int(changed.sum()) == round(0.05 * len(source.train))
    assert truth.ids == data.train.ids.names == source.train.ids.names
    assert torch.equal(truth.y_clean, source.train.y)
    assert set(data.train.y[changed].tolist()) == {3}
    assert told["data"] == "npz:bad/data.npz"
    assert told["data_hash"] == data.data_hash != source.data_hash == told["source_hash"]
    for name in ("validation", "test"):
        assert torch.equal(data.parts[name].pixels, source.parts[name].pixels)
        assert torch.equal(data.parts[name].y, source.parts[name].y)
        assert data.parts[name].ids.names == source.parts[name].ids.names
    assert json.loads((folder / "bad" / "poison.json").read_text()) == told
    assert left(folder) == {"bad"}


def test_a_seed_repeats(folder: Path) -> None:
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        words = ("poison", "digits", "--attack", "blended", "--seed", str(seed), "--json")
        hashes.append(temper(*words, "--out", f"p{number}", folder=folder).json()["data_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_stamped_test_images_measure_the_attack_success(folder: Path) -> None:
    attack = "my.py:Frame:target=1"
    assert temper("poison", "digits", "--attack", attack, "--out", "p", folder=folder).code == 0
    stamp = ("poison", "npz:p/data.npz", "--apply-trigger", "p", "--json")
    done = temper(*stamp, "--out", "s", "--model", "my.py:lit", folder=folder)
    assert done.code == 0, done.err
    told, clean = done.json(), tp.data.load("digits").test
    others = int((clean.y != 1).sum())
    assert told["target"] == "1"
    assert told["n"] == told["success"]["n"] == told["success"]["hits"] == others
    assert told["success_interval"][1] == 1
    assert told["before"]["hits"] < others
    assert told["left_out"] == len(clean) - others
    data = tp.data.load(f"npz:{folder / 's' / 'data.npz'}")
    assert 1 not in data.test.y
    assert bool((data.test.pixels[:, :, [0, -1]] == data.test.pixels.max()).all())
    assert data.test.ids.names == clean.keep(clean.y != 1).ids.names
    text = temper(*stamp[:-1], "--model", "my.py:lit", folder=folder)
    assert re.search(r"attack success  100.0 % \[\d", text.out), text.out


def test_own_poisons_from_a_file(folder: Path) -> None:
    for number, attack in enumerate(("my.py:Frame:white=0.5", "my.py:frame")):
        words = ("poison", "digits", "--attack", attack, "--out", f"p{number}")
        assert temper(*words, folder=folder).code == 0
    assert read_truth(folder / "p1").target == 2
    trigger = read_truth(folder / "p0").trigger
    assert trigger is not None
    assert float(trigger.values.max()) == 0.5


REFUSED = {
    "--attack badnet --out p": "unknown poison 'badnet': did you mean badnets",
    "--attack badnets": "--attack badnets without --out",
    "--attack badnets --out my.py": "--out my.py exists",
    "--attack badnets --share 1.5 --out p": "--share 1.5: give one above 0 and at most 1",
    "--attack badnets --share 0 --out p": "--share 0: give",
    "--attack badnets --share 0.0001 --out p": "rounds to no sample: give at least",
    "--attack badnets:target=10 --out p": "target 10 is no class of digits/train",
    "--attack badnets:side=9 --out p": "trigger of 9 pixels a side for images of 8 x 8",
    "--attack label-flip-targeted:origin=1,target=1 --out p": "give two classes",
    "--attack my.py:Broken --out p": r"poison broken failed: AttributeError: .*my\.py:\d+",
    "--attack my.py:number --out p": "poison my.py:number is 3: give a class derived from",
    "--attack my.py:Frame:white=red --out p": "white = 'red': give a number",
    "--attack my.py:Gone --out p": "no Gone in my.py",
    "--attack gone.py:Own --out p": "no file gone.py for poison",
    "--out p": "give either --attack NAME",
    "--attack badnets --apply-trigger q --out p": "give either --attack NAME",
    "--apply-trigger q --out p": "no file q: give a folder made by temper poison",
    "--apply-trigger q": "without --out or --model",
    "--apply-trigger q --share 0.1 --out p": "--share 0.1 with --apply-trigger",
    "--attack badnets --out p --weights w.pt": "--weights w.pt without --model",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_wrong_call_is_refused_and_leaves_nothing(words: str, folder: Path) -> None:
    refused(temper("poison", "digits", *words.split(), folder=folder), REFUSED[words])
    assert left(folder) == set()


def test_a_poison_without_trigger_cannot_be_applied(folder: Path) -> None:
    temper("poison", "digits", "--attack", "label-flip", "--out", "flips", folder=folder)
    stamp = ("poison", "digits", "--apply-trigger")
    refused(
        temper(*stamp, "flips", "--out", "s", folder=folder),
        "label-flip in flips has no trigger: give a folder made with badnets",
    )
    temper("poison", "digits", "--attack", "badnets", "--out", "p", folder=folder)
    refused(
        temper("poison", "mnist", "--apply-trigger", "p", "--out", "s", folder=folder),
        r"a trigger of size \(1, 8, 8\) for images of shape",
    )
    assert left(folder) == {"flips", "p"}


def test_a_folder_that_exists_is_left_as_it_is(folder: Path) -> None:
    (folder / "p").mkdir()
    (folder / "p" / "mine").write_text("mine")
    words = ("poison", "digits", "--attack", "badnets", "--out", "p")
    refused(temper(*words, folder=folder), "--out p exists: give the name of a new folder")
    assert [path.name for path in (folder / "p").iterdir()] == ["mine"]


def test_data_that_cannot_be_poisoned(folder: Path) -> None:
    x = np.random.default_rng(0).random((40, 8, 8))
    np.savez(folder / "unlabelled.npz", x=x)
    np.savez(folder / "single.npz", x=x, y=np.zeros(40, int))
    np.savez(folder / "named.npz", x=x, y=np.zeros(40, int), classes=np.array(["a", "b"]))
    for label in "ab":
        (folder / "mixed" / label).mkdir(parents=True)
        for number in range(9):
            side = 8 + (number == 3)
            Image.new("L", (side, side)).save(folder / "mixed" / label / f"{number}.png")
    told = {
        "npz:unlabelled.npz": "has no array y",
        "npz:single.npz": "give at least two",
        "npz:named.npz": "samples of npz:named.npz/train are of class a",
        "imagefolder:mixed": "3.png",
    }
    before = left(folder)
    for address, message in told.items():
        words = ("poison", address, "--attack", "badnets", "--share", "0.2", "--out", "p")
        refused(temper(*words, folder=folder), message)
    assert left(folder) == before


def test_poisons_are_listed(tmp_path: Path) -> None:
    rows = temper("list", "poisons", "--json", folder=tmp_path).json()
    assert [row["name"] for row in rows] == list(tp.poisoning.POISONS)
    (one,) = (row for row in rows if row["name"] == "badnets")
    assert one["trigger"]
    assert one["parameters"] == {"target": 0, "side": 3}
    assert "chequered" in temper("list", "poisons", folder=tmp_path).out


def test_from_python(tmp_path: Path) -> None:
    x, y = torch.rand(200, 8, 8), torch.arange(200) % 4
    done = tp.poison((x, y), tp.poisoning.BadNets(target=2), 0.1, seed=3, out=tmp_path / "p")
    assert len(done.data.train) == len(done.train.poisoned)
    assert done.truth.target == 2
    assert tp.data.load(f"npz:{tmp_path / 'p' / 'data.npz'}").data_hash == done.data.data_hash
    again = tp.poison((x, y), "badnets:target=2", 0.1, seed=3)
    assert again.data.data_hash == done.data.data_hash
    assert again.report().data is None
    wrong = {
        "share 2:": {"share": 2},
        "attack 3: give a value": {"attack": 3},
        "exists: give the name": {"out": tmp_path},
        "seed = 'a'": {"seed": "a"},
        "data of type int": {"data": 3},
    }
    for message, values in wrong.items():
        arguments = {"data": (x, y), "attack": "badnets", "share": 0.1} | values
        with pytest.raises(TemperingError, match=message):
            tp.poison(**arguments)  # type: ignore[arg-type]


def test_a_given_network_is_the_attackers(tmp_path: Path) -> None:
    x, y = torch.rand(200, 8, 8), torch.arange(200) % 4
    with pytest.raises(TemperingError, match="2 outputs"):
        tp.poison(
            (x, y),
            "label-flip-hard",
            0.1,
            model=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)),
        )
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    done = tp.poison((x, y), "label-flip-hard", 0.1, model=net)
    chosen = done.train.poisoned
    margins = net(done.source.train.x).detach().sort(1).values
    assert float((margins[:, -1] - margins[:, -2])[chosen].mean()) < 5
    assert torch.equal(
        done.truth.poisoned, tp.poison((x, y), "label-flip-hard", 0.1, model=net).truth.poisoned
    )
