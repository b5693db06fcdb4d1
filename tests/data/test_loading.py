from __future__ import annotations

import subprocess
import sys

import pytest

from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.data import SOURCES, load
from tempering.data.loading import find_source


def test_every_source_is_listed_with_an_example_that_names_it() -> None:
    assert set(SOURCES) == {"mnist", "digits", "npz", "imagefolder", "idx", "hf"}
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.summary
        chosen, argument = find_source(source.example)
        assert chosen is source
        assert bool(argument) == (source.argument is not None)


def test_digits_are_scaled_and_split() -> None:
    splits = load("digits")
    assert splits.shape == (1, 8, 8)
    assert splits.num_classes == 10
    assert sum(len(part) for part in splits.parts.values()) == 1797
    assert len(splits.test) == 359
    assert float(splits.train.x.max()) == 1.0
    assert splits.train.name == "digits/train"


@pytest.mark.parametrize("address", ["mnits", "imagefoldr:photos", "", "photos"])
def test_an_unknown_source_offers_what_is_known(address: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data source .*(did you mean|known:)"):
        load(address)


@pytest.mark.parametrize("address", ["npz", "npz:", "hf", "idx:", "imagefolder"])
def test_a_missing_argument_is_asked_for(address: str) -> None:
    with pytest.raises(UsageError, match="needs an argument: write"):
        load(address)


def test_too_much_is_refused() -> None:
    with pytest.raises(UsageError, match="mnist takes no argument: write mnist"):
        load("mnist:fashion")


@pytest.mark.parametrize("name", ["npz", "imagefolder", "idx"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(DataError, match=r"no (file|folder) nowhere: give"):
        load(f"{name}:nowhere")


def test_the_room_is_entered_without_torch() -> None:
    code = "import sys, tempering.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
