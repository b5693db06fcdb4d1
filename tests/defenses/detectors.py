"""A small network that knows 8x8 digits, and detectors fitted to protect it."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import tempering as tp
from tempering.attacks import BIM, FGSM, PGD, Square
from tempering.core.protocols import Detector
from tempering.core.threats import Linf
from tempering.data.splits import Splits
from tempering.defenses import Pipeline, fit_detector
from tempering.models import BaseClassifier, build

THREAT = Linf(0.2)
ATTACKS = (FGSM(), BIM(steps=5), PGD(steps=5), Square(queries=10))

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "feature_squeezing": ("feature_squeezing", {"bits": 3}),
    "mahalanobis": ("mahalanobis", {}),
    "knn_distance": ("knn_distance", {"k": 5}),
    "strip": ("strip", {"overlays": 8}),
    "gram": ("gram", {}),
    "max_softmax": ("max_softmax", {}),
    "energy": ("energy", {}),
    "conformal": ("conformal", {}),
    "ml_filter": ("ml_filter", {"components": 20}),
    "discriminator": ("discriminator", {"width": 8, "hidden": 32, "epochs": 6}),
    "random_forest": ("protection_layer", {"members": 10}),
    "knn": ("protection_layer", {"estimator": "knn"}),
    "gradient_boosting": ("protection_layer", {"estimator": "gradient_boosting", "members": 10}),
}


@cache
def digits() -> Splits:
    data = tp.data.load("digits")
    return Splits(
        "digits", "small", data.train.first(500), data.validation.first(100), data.test.first(60)
    )


@cache
def network() -> BaseClassifier:
    """Trained for a second; do not change it."""
    options: dict[str, Any] = {"squeeze": None, "adversarial_class": False}
    net = build("strided_cnn", (1, 8, 8), 10, width=8, hidden=32, **options)
    train = tp.data.load("digits").train
    adam = torch.optim.Adam(net.parameters(), 5e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        rows = torch.randint(len(train), (64,), generator=draw)
        adam.zero_grad()
        nn.functional.cross_entropy(net(train.x[rows]), train.y[rows]).backward()
        adam.step()
    return net.eval().requires_grad_(False)


@cache
def fitted(case: str) -> Detector:
    """Do not change it."""
    name, options = CASES[case]
    return fit_detector(name, network(), digits(), THREAT, ATTACKS, fpr=0.05, **options)


def pipeline(case: str) -> Pipeline:
    return Pipeline(network(), detector=fitted(case), scale=10.0).eval()


@cache
def known() -> tuple[Tensor, Tensor]:
    """Test digits that the network gets right."""
    test = digits().test
    right = network()(test.x).argmax(1) == test.y
    return test.x[right], test.y[right]
