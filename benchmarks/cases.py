"""The cases of attacks.py: attacks, networks, numbers of images and libraries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tempering.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    BIM,
    CWL2,
    DDN,
    FABT,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    Boundary,
    DeepFool,
    HopSkipJump,
    Square,
)
from tempering.attacks.base import Attack
from tempering.core.threats import L2, Linf, Threat

MNIST_STANDARD, MNIST_HARDENED, RESNET = "mnist-standard", "mnist-hardened", "cifar-resnet18"
NETWORKS = (MNIST_STANDARD, MNIST_HARDENED, RESNET)
BOTH = (MNIST_STANDARD, MNIST_HARDENED)

ROUNDS = 8
"""HopSkipJump's iterations in libraries that count those and not queries: about 2,000 queries."""
FIRST_ESTIMATE = 100
"""Their labels in a first estimate: the paper's, and their own default."""


@dataclass(frozen=True)
class Case:
    """One attack, ours in one form or two, and what others are told.

    Attributes:
        name: As it is chosen and shown.
        kind: What peers call by this name in their tables.
        variants: What is added to our name -> our attack.
        threat: By network.
        images: By network; a network that is not named is left out.
        told: Settings for peers beyond those of our attack.
        slow: Peers that get fewer images, and ours beside them once more on as many.
        distance: Whether the smallest distance is looked for: then the median counts too.
        without: Peers that have the attack and are left out: hopelessly slow at this size.
        repeats: Interleaved runs at most.
    """

    name: str
    kind: str
    variants: Mapping[str, Attack]
    threat: Mapping[str, Threat]
    images: Mapping[str, int]
    told: Mapping[str, Any] = field(default_factory=dict)
    slow: Mapping[str, int] = field(default_factory=dict)
    distance: bool = False
    without: tuple[str, ...] = ()
    repeats: int = 3

    def settings(self) -> dict[str, Any]:
        """What peers are told: the hyperparameters of our first variant, and more."""
        first = next(iter(self.variants.values()))
        own = {field.name: getattr(first, field.name) for field in dataclasses.fields(first)}
        own.pop("until_fooled", None)
        return {**own, **self.told}


def _on(networks: tuple[str, ...], images: int, resnet: int = 0) -> dict[str, int]:
    chosen = dict.fromkeys(networks, images)
    return {**chosen, RESNET: resnet} if resnet else chosen


LINF: dict[str, Threat] = {**dict.fromkeys(BOTH, Linf(0.3)), RESNET: Linf(0.1)}
"""On the random network so large that everything succeeds on every side."""
NEAR: dict[str, Threat] = {**dict.fromkeys(BOTH, L2(2.0)), RESNET: L2(0.5)}
FAR: dict[str, Threat] = dict.fromkeys(NETWORKS, L2(10.0))
"""For attacks that look for the nearest image: hardly ever farther than this."""

WHOLE = "whole climb"


def _both(kind: type[Attack], **settings: Any) -> dict[str, Attack]:
    return {
        "": kind(**settings, until_fooled=True),
        WHOLE: kind(**settings, until_fooled=False),
    }


def _whole(kind: type[Attack], **settings: Any) -> dict[str, Attack]:
    return {WHOLE: kind(**settings, until_fooled=False)}


_FULL = {"classes": 10}

CASES: tuple[Case, ...] = (
    Case("fgsm", "fgsm", {"": FGSM()}, LINF, _on(BOTH, 1024, 128), _FULL),
    Case("bim-40", "bim", _both(BIM, steps=40, step_size=0.02), LINF, _on(BOTH, 64), _FULL),
    Case("pgd-40", "pgd", _both(PGD, steps=40, step_size=0.02), LINF, _on(BOTH, 512), _FULL),
    Case(
        "pgd-40-l2",
        "pgd",
        _both(PGD, steps=40, step_size=0.125),
        NEAR,
        _on(BOTH, 128),
        _FULL,
        repeats=2,
    ),
    Case(
        "pgd-2",
        "pgd",
        _whole(PGD, steps=2, step_size=0.1),
        LINF,
        _on((), 0, 256),
        _FULL,
        repeats=2,
    ),
    Case(
        "mifgsm-10", "mifgsm", _both(MIFGSM, steps=10, step_size=0.03), LINF, _on(BOTH, 128), _FULL
    ),
    Case(
        "apgd-ce-100", "apgd-ce", _both(APGDCE), LINF, _on(BOTH, 256), _FULL, {"ART": 32}, repeats=2
    ),
    Case(
        "apgd-dlr-100",
        "apgd-dlr",
        _both(APGDDLR),
        LINF,
        _on(BOTH, 256),
        _FULL,
        {"ART": 32},
        repeats=2,
    ),
    Case(
        "apgd-ce-10",
        "apgd-ce",
        _whole(APGDCE, steps=10),
        LINF,
        _on((), 0, 16),
        _FULL,
        repeats=2,
    ),
    Case("apgd-t-100", "apgd-t", {"": APGDT()}, LINF, _on(BOTH, 128), _FULL, repeats=2),
    Case("fab-t-100", "fab-t", {"": FABT()}, LINF, _on(BOTH, 48), _FULL, repeats=2),
    Case(
        "square-1000",
        "square",
        {"": Square(queries=1000)},
        LINF,
        _on(BOTH, 32),
        _FULL,
        {"ART": 8},
        repeats=2,
    ),
    Case(
        "cw-l2",
        "cw-l2",
        {"": CWL2(searches=9, iterations=1000)},
        FAR,
        _on(BOTH, 16),
        _FULL,
        distance=True,
        without=("ART", "CleverHans"),
        repeats=1,
    ),
    Case(
        "cw-l2-100",
        "cw-l2",
        {"": CWL2(searches=6, iterations=100)},
        FAR,
        _on(BOTH, 16),
        _FULL,
        {"ART": 4},
        distance=True,
        repeats=2,
    ),
    Case("ddn-100", "ddn", {"": DDN()}, FAR, _on(BOTH, 64), _FULL, distance=True),
    Case("fmn-100", "fmn", {"": FMN()}, FAR, _on(BOTH, 64), _FULL, distance=True),
    Case(
        "deepfool-50",
        "deepfool",
        {"": DeepFool()},
        FAR,
        _on(BOTH, 64),
        _FULL,
        {"torchattacks": 8},
        distance=True,
        repeats=2,
    ),
    Case(
        "hopskipjump-2000",
        "hopskipjump",
        {"": HopSkipJump(queries=2000, until_fooled=False)},
        FAR,
        _on(BOTH, 8),
        {**_FULL, "rounds": ROUNDS, "first_estimate": FIRST_ESTIMATE},
        distance=True,
        repeats=2,
    ),
    Case(
        "boundary-2000",
        "boundary",
        {"": Boundary(queries=2000, until_fooled=False)},
        FAR,
        _on(BOTH, 8),
        _FULL,
        distance=True,
        repeats=2,
    ),
)


def shortened(case: Case) -> Case:
    """The same case in small: a few images and steps, to see that everything runs."""
    few = {"steps": 5, "queries": 120, "iterations": 20, "searches": 2, "targets": 3}

    def small(attack: Attack) -> Attack:
        given = {field.name for field in dataclasses.fields(attack)}
        changes = {
            name: min(value, getattr(attack, name)) for name, value in few.items() if name in given
        }
        return dataclasses.replace(attack, **changes)

    return dataclasses.replace(
        case,
        name=f"{case.name}, shortened",
        variants={name: small(attack) for name, attack in case.variants.items()},
        images={name: min(n, 2 if name == RESNET else 24) for name, n in case.images.items()},
        slow={name: min(n, 4) for name, n in case.slow.items()},
        told={**case.told, "rounds": 2},
    )
