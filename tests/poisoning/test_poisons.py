"""What every registered poison keeps to."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams, derive
from tempering.data import Dataset
from tempering.poisoning import POISONS, Crafted, Poison, Poisoned, Task, parse_poison
from tempering.poisoning.poisons.names import NAMES
from tempering.poisoning.poisons.registry import write_poison
from tests.architecture.sources import ROOT

QUICK = {"feature-collision": ":steps=5", "gradient-matching": ":steps=3"}
each_poison = pytest.mark.parametrize("name", POISONS)


def made(name: str, data: Dataset, test: Dataset, network: nn.Module, seed: int = 0) -> Poisoned:
    streams = RandomStreams(derive(seed, "poison"), data.ids.keys)
    poison = parse_poison(name + QUICK.get(name, ""))
    return poison.poison(data, 0.1, streams, test=test, model=network)


def test_names_known_without_torch_are_those_registered() -> None:
    assert list(NAMES) == list(POISONS)


@each_poison
def test_exactly_the_share_is_changed_and_nothing_else(
    name: str, data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    done = made(name, data, test_data, network)
    assert int(done.poisoned.sum()) == 12
    differs = (done.data.pixels != data.pixels).flatten(1).any(1) | (done.data.y != data.y)
    assert torch.equal(differs, done.poisoned)
    assert done.data.ids.names == data.ids.names
    assert done.data.classes == data.classes
    assert done.data.content_hash != data.content_hash
    assert not bool((done.cover & ~done.poisoned).any())


@each_poison
def test_it_changes_what_it_says(
    name: str, data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    done = made(name, data, test_data, network)
    kind = POISONS[name]
    payload = done.poisoned & ~done.cover
    relabelled = done.data.y != data.y
    redrawn = (done.data.pixels != data.pixels).flatten(1).any(1)
    assert torch.equal(relabelled, payload if "labels" in kind.changes else payload & False)
    assert torch.equal(redrawn, done.poisoned if "images" in kind.changes else payload & False)
    assert (done.trigger is not None) == kind.triggered


@each_poison
def test_a_seed_repeats_and_another_one_differs(
    name: str, data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    first, again = (made(name, data, test_data, network) for _ in range(2))
    assert first.data.content_hash == again.data.content_hash
    other = made(name, data, test_data, network, seed=1)
    if name != "label-flip-hard":  # with a given network nothing in it is random
        assert other.data.content_hash != first.data.content_hash


@each_poison
def test_the_clean_data_and_the_network_stay_as_they_are(
    name: str, data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    pixels, y = data.pixels.clone(), data.y.clone()
    weights = [weight.clone() for weight in network.parameters()]
    done = made(name, data, test_data, network.train())
    assert network.training
    assert torch.equal(data.pixels, pixels)
    assert torch.equal(data.y, y)
    assert all(map(torch.equal, network.parameters(), weights))
    assert done.clean is data


@each_poison
def test_float_images_stay_floats_in_range(
    name: str, data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    done = made(name, replace(data, pixels=data.x), test_data, network)
    assert done.data.pixels.dtype == torch.float32
    assert 0 <= float(done.data.pixels.min()) <= float(done.data.pixels.max()) <= 1


@each_poison
def test_its_text_can_be_read_again(name: str) -> None:
    poison = parse_poison(name)
    assert parse_poison(write_poison(poison)) == poison
    assert poison.source
    assert type(poison).__doc__


def test_samples_drawn_do_not_depend_on_their_order(
    data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    turned = data.subset(torch.arange(len(data)).flip(0))
    done = made("badnets", data, test_data, network)
    other = made("badnets", turned, test_data, network)
    assert set(done.data.ids[done.poisoned].names) == set(other.data.ids[other.poisoned].names)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0, "share 0: give one above 0 and at most 1"),
        (-0.1, "share -0.1"),
        (1.01, "share 1.01"),
        (float("nan"), "share nan"),
        (True, "share True"),
        ("0.1", "share '0.1'"),
        (0.001, "share 0.001 of the 120 samples of small/train rounds to no sample: give at least"),
    ],
)
def test_a_wrong_share_is_refused(data: Dataset, share: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_poison("label-flip").poison(data, share)


def test_the_share_that_a_message_names_works(data: Dataset) -> None:
    assert int(parse_poison("label-flip").poison(data, 0.0084).poisoned.sum()) == 1


def test_a_whole_set_can_be_relabelled(data: Dataset) -> None:
    assert bool((parse_poison("label-flip").poison(data, 1).data.y != data.y).all())


def test_a_class_of_its_own_is_held_to_the_contract(data: Dataset) -> None:
    class Own(Poison):
        name = "own"
        answer: object = None

        def craft(self, task: Task) -> Crafted:
            return type(self).answer(task)  # type: ignore[operator]

    rows = torch.arange(12)
    x = data.images(rows)
    wrong = {
        "changed 11 samples: change task.count, 12": lambda _: Crafted(rows[:11], x[:11]),
        "returned NoneType: return a Crafted": lambda _: None,
        "shape \\(12, 1, 4, 4\\)": lambda _: Crafted(rows, x[..., :4, :4]),
        "pixels outside": lambda _: Crafted(rows, x + 1),
        "labels that are no classes": lambda _: Crafted(rows, y=rows),
        "row 130 of 120": lambda _: Crafted(rows + 119, x),
        "poison own failed: ZeroDivisionError": lambda _: Crafted(rows, x / (1 // 0)),
    }
    for message, answer in wrong.items():
        Own.answer = staticmethod(answer)
        with pytest.raises(UsageError, match=message):
            Own().poison(data, 0.1)
    Own.answer = staticmethod(lambda task: Crafted(rows, y=(task.data.y[rows] + 1) % 3))
    assert int(Own().poison(data, 0.1).poisoned.sum()) == 12


def test_a_class_without_a_name_is_refused() -> None:
    class Nameless(Poison):
        def craft(self, task: object) -> object:  # type: ignore[override]
            raise NotImplementedError

    with pytest.raises(UsageError, match="Nameless has no name"):
        Nameless()  # type: ignore[abstract]


def test_samples_that_stay_as_they_were_count_as_clean(data: Dataset) -> None:
    from tempering.core.notes import TemperingWarning

    stamp = parse_poison("badnets:side=1")
    lit = data.pixels.clone()
    lit[data.y == 1, :, -1, -1] = 255
    some = replace(data, pixels=lit)
    with pytest.warns(TemperingWarning, match="samples as they were: they count as clean"):
        # cover samples keep their label, and the pixel is white already
        done = _CoverOnly().poison(some, 0.2)
    differs = (done.data.pixels != some.pixels).flatten(1).any(1)
    assert torch.equal(done.poisoned, differs)
    with pytest.raises(UsageError, match="changes no sample: give it a larger change"):
        parse_poison("sinusoidal:amplitude=0.001").poison(data, 0.1)
    assert int(stamp.poison(some, 0.2).poisoned.sum()) == 24


class _CoverOnly(Poison):
    """A white pixel, and no label."""

    name = "cover"

    def craft(self, task: Task) -> Crafted:
        rows = torch.arange(task.count)
        x = task.images(rows)
        x[..., -1, -1] = 1
        return Crafted(rows, x)


def test_the_poison_of_the_docs_works(data: Dataset) -> None:
    page = (ROOT / "docs" / "poisoning.md").read_text("utf-8")
    own: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[-1], own)
    done = own["Frame"](target="owl").poison(data, 0.1)
    assert done.target == 2
    assert bool((done.data.pixels[done.poisoned][:, :, 0] == 255).all())
    assert int(done.poisoned.sum()) == 12


def test_the_docs_name_every_poison() -> None:
    page = (ROOT / "docs" / "poisoning.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == list(POISONS)


class NamedTarget(Poison):
    """Names its target wherever a class can be named."""

    name = "named-target"

    def craft(self, task: Task) -> Crafted:
        rows = task.choose_others("owl")
        y = torch.full_like(rows, task.class_index("owl"))
        return Crafted(rows, y=y, target="owl")


def test_a_poison_may_name_its_target(data: Dataset) -> None:
    assert NamedTarget().poison(data, 0.1).target == 2
