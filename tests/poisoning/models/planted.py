"""A small network with a planted backdoor, one without, and clean MNIST images."""

from dataclasses import dataclass
from functools import cache

from torch import nn

import tempering as tp
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.poisoning import BadNets
from tempering.poisoning.models.reconstruction import NeuralCleanse, ReconstructedTrigger
from tempering.poisoning.models.scan import TriggerScan
from tempering.poisoning.small_network import small_network
from tempering.poisoning.triggers.overlay import Overlay

TARGET = 7
SEARCH = NeuralCleanse(steps=150, batch_size=16)
SCAN = TriggerScan(SEARCH)


@dataclass(frozen=True)
class Images:
    """Clean images to work with, and others to measure on."""

    train: Dataset
    clean: Dataset
    test: Dataset


@cache
def images() -> Images:
    data = tp.data.load("mnist")
    return Images(data.train.take(2500), data.validation.take(500), data.test.take(400))


@cache
def trigger() -> Overlay:
    return BadNets(target=TARGET).trigger(images().train.shape)


@cache
def backdoored() -> nn.Module:
    """Do not change it."""
    train = images().train
    streams = RandomStreams(derive(0, "planted"), train.ids.keys)
    return small_network(BadNets(target=TARGET).poison(train, 0.05, streams).data, seed=0)


@cache
def clean_network() -> nn.Module:
    """Do not change it."""
    return small_network(images().train, seed=0)


@cache
def triggers(planted: bool) -> list[ReconstructedTrigger]:
    model = backdoored() if planted else clean_network()
    return SEARCH.reconstruct(model, images().clean, seed=0)
