"""Parameters and data that do not fit are refused in one line."""

from __future__ import annotations

import pytest
import torch

from tempering.core.errors import DataError, TemperingError, UnknownNameError, UsageError
from tempering.data import Dataset
from tempering.poisoning import parse_poison


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("badnets:target=3", "target 3 is no class of small/train: give a number from 0 to 2"),
        ("badnets:target=cow", "target 'cow' is no class of small/train: did you mean owl?"),
        ("sinusoidal:target=Dog", "target 'Dog' is no class of small/train: did you mean dog?"),
        ("blended:target=-1", "target -1 is no class"),
        ("badnets:side=9", "trigger of 9 pixels a side for images of 8 x 8: give side=1 to 8"),
        ("badnets:side=0", "trigger of 0 pixels"),
        ("label-flip-targeted:origin=dog,target=1", "origin and target are both class dog"),
        ("label-flip-targeted:origin=7", "origin 7 is no class"),
        ("feature-collision", "not trained on: give test="),
        ("warping:cover_share=1", "cover_share 1.0"),
    ],
)
def test_what_the_data_shows(text: str, message: str, data: Dataset) -> None:
    with pytest.raises(UsageError, match=message):
        parse_poison(text).poison(data, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("badnet", "did you mean badnets"),
        ("badnets:sid=3", "unknown parameter of badnets 'sid': did you mean side"),
        ("badnets:side=wide", "badnets: side = 'wide': give a whole number"),
        ("blended:opacity=0", "opacity 0.0"),
        ("sinusoidal:amplitude=2", "amplitude 2.0"),
        ("sinusoidal:frequency=0", "frequency 0"),
        ("warping:strength=0", "strength 0.0"),
        ("warping:grid=1", "grid 1"),
        ("adaptive-blend:kept=0", "kept 0.0"),
        ("adaptive-blend:tiles=0", "tiles 0"),
        ("perturbation:grid=0.1+2", "eps 2.0 in the grid"),
        ("perturbation:attacks=fgms", "did you mean fgsm"),
        ("perturbation:attacks=cw-l2", "does not attack in linf"),
        ("gradient-matching:eps=0", "eps 0.0"),
        ("gradient-matching:steps=0", "steps 0"),
        ("feature-collision:steps=0", "steps 0"),
        ("feature-collision:closeness=-1", "closeness -1"),
        ("feature-collision:watermark=0", "watermark 0.0"),
    ],
)
def test_what_the_text_shows(text: str, message: str) -> None:
    with pytest.raises(TemperingError, match=message):
        parse_poison(text)


def test_too_few_samples_of_a_class(data: Dataset) -> None:
    message = "48 samples of small/train to poison but only 40 are of class dog: .* at most 0.3333"
    with pytest.raises(DataError, match=message):
        parse_poison("sinusoidal:target=dog").poison(data, 0.4)
    with pytest.raises(DataError, match=r"only 80 are of another class than cat, the target"):
        parse_poison("badnets").poison(data, 0.9)


def test_a_single_class_is_refused(data: Dataset) -> None:
    with pytest.raises(DataError, match="all 40 samples of small/train are of class cat"):
        parse_poison("label-flip").poison(data.keep(data.y == 0), 0.5)


def test_too_many_victims(data: Dataset, test_data: Dataset, network: torch.nn.Module) -> None:
    poison = parse_poison("gradient-matching:victims=21")
    with pytest.raises(DataError, match="21 victims but only 20"):
        poison.poison(data, 0.1, test=test_data, model=network)


def test_a_name_that_is_known_is_offered() -> None:
    with pytest.raises(UnknownNameError, match="known: adaptive-blend"):
        parse_poison("zzz")
