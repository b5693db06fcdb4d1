"""Attackers of AI-Guardian, from one who ignores the trigger to one who asks for labels only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.attacks.cw_linf import CWLinf
from tempering.attacks.hopskipjump import HopSkipJump
from tempering.attacks.pgd import PGD
from tempering.attacks.square import Square
from tempering.core.goals import TargetedLabels
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.record import Count
from tempering.core.system_records import FurtherAttack
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.defenses.backdoor import Backdoored
from tempering.systems.setting import BUDGETS, Budget, Setting
from tempering.systems.trigger_from_queries import from_queries
from tempering.systems.trigger_from_weights import from_weights

STEPS = 40
"""Gradient steps of PGD and C&W."""
AUTHORS_EPS = 0.225
"""L-inf eps of the authors on MNIST."""
OWN_IMAGES, FEW = 8, 16
"""Images a class that the attacker has, from the validation data; images that are asked about."""


@dataclass(frozen=True)
class Effort:
    """How much is attacked.

    Attributes:
        triggers: Networks, each with a trigger and a permutation of its own.
        training: Share of the budget's steps for those after the first.
        images: Test images of gradient attacks; None for those of the budget.
        score_images: Test images of Square.
        score_queries: Its queries an image.
        label_images: Test images of HopSkipJump.
        label_queries: Its queries an image.
        search_steps: Gradient steps of a pattern that is searched in the weights.
        authors_steps: Of PGD in the authors' own measure; they make 100.
    """

    triggers: int
    training: float
    images: int | None
    score_images: int
    score_queries: int
    label_images: int
    label_queries: int
    search_steps: int
    authors_steps: int


EFFORTS = {
    "10m": Effort(1, 1.0, None, 50, 200, 20, 500, 10, 40),
    "60m": Effort(3, 0.5, 1000, 200, 500, 50, 1000, 10, 100),
    "full": Effort(3, 1.0, 1000, 500, 2000, 100, 5000, 30, 100),
}
"""Name of a budget -> effort."""


def effort_of(budget: Budget) -> Effort:
    """The effort for a budget; fewer images than the budget's name stands for limit all counts."""
    known = EFFORTS.get(budget.name, EFFORTS["10m"])
    usual = BUDGETS.get(budget.name, budget).samples
    images = budget.samples if known.images is None else known.images
    most = budget.samples if budget.samples < usual else images
    return replace(
        known,
        images=min(images, most),
        score_images=min(known.score_images, most),
        label_images=min(known.label_images, most),
    )


@dataclass(frozen=True)
class _Attempt:
    """An attack on one model, whose images are shown to the deployed one."""

    knows: str
    how: str
    attack: Attack
    victim: nn.Module
    images: int


def _authors(
    deployed: Backdoored, setting: Setting, test: Dataset, effort: Effort, variant: str
) -> list[FurtherAttack]:
    """The authors' own measure, in L-inf: targets that the system answers with."""
    eps = min(AUTHORS_EPS, setting.threat.eps)
    if setting.threat.name != "linf":
        return []
    shown = _Shown(deployed, test, effort.images or effort.score_images)
    targets = (shown.y + 1) % setting.data.train.num_classes
    attack = PGD(steps=effort.authors_steps, until_fooled=False)
    streams = RandomStreams(derive(setting.seed, "authors"), shown.keys)
    x_adv = attack(
        deployed.network, shown.x, targets, Linf(eps), random=streams, goal=TargetedLabels()
    )
    return [
        FurtherAttack(
            name=f"authors' attack: {attack.label()}, targeted, eps {eps:g}",
            how="The network without the trigger is attacked toward the next class; counted are "
            "images that the system does not take for that class.",
            variant=variant,
            withstood=shown.not_taken_for(targets, x_adv),
        )
    ]


def further_attacks(
    deployed: Backdoored, setting: Setting, test: Dataset, effort: Effort, variant: str
) -> list[FurtherAttack]:
    """What each attacker leaves of a deployed model; the first row is without attack.

    Args:
        deployed: The model with its trigger, on the setting's device.
        setting: Threat, seed and data of the attacker.
        test: Test images.
        effort: How much is attacked.
        variant: Name of the trigger.
    """
    most = test.take(effort.images or len(test))
    clean = _Shown(deployed, most, len(most))
    rows = [
        FurtherAttack(
            name="no attack",
            how="Clean images with the trigger stamped on them.",
            variant=variant,
            withstood=clean.withstood(clean.x),
        )
    ]
    rows += _authors(deployed, setting, most, effort, variant)
    with track(f"AI-Guardian: {variant}", 8) as advance:
        for attempt in _attempts(deployed, setting, effort, variant):
            advance(len(rows), attempt.attack.label())
            if not attempt.attack.knows(setting.threat):
                continue
            shown = _Shown(deployed, most, attempt.images)
            rows.append(
                FurtherAttack(
                    name=f"{attempt.knows}: {attempt.attack.label()}",
                    how=attempt.how,
                    variant=variant,
                    withstood=shown.withstood(shown.attacked(attempt, setting)),
                )
            )
    return rows


def _attempts(
    deployed: Backdoored, setting: Setting, effort: Effort, variant: str
) -> Iterator[_Attempt]:
    """The attacks, from little knowledge to much."""
    network, device = deployed.network, setting.engine.device
    own = setting.data.validation.take(OWN_IMAGES * setting.data.train.num_classes)
    x, y = own.images(torch.arange(len(own))).to(device), own.y.to(device)
    seed = derive(setting.seed, "trigger recovery", variant)
    pgd, many = PGD(steps=STEPS), effort.images or effort.score_images
    for attack in (pgd, CWLinf(steps=STEPS)):
        yield _Attempt(
            "oblivious",
            "The network without the trigger is attacked, and its images are shown to the system.",
            attack,
            network,
            many,
        )
    yield _Attempt(
        "trigger known",
        "Gradients lead through the trigger and the inverse of the map of classes.",
        pgd,
        deployed,
        many,
    )
    asked = from_queries(deployed, network, x[:FEW], seed)
    yield _Attempt(
        "trigger from queries",
        f"{asked.of(deployed)} from {asked.queries:,} answers, then as with a known trigger.",
        pgd,
        asked.behind(network).to(device),
        many,
    )
    if len(set(y.tolist())) == setting.data.train.num_classes:
        read = from_weights(network, x, y, seed, effort.search_steps)
        yield _Attempt(
            "trigger from weights",
            f"{read.of(deployed)} from the network's weights alone, then as with a known trigger.",
            pgd,
            read.behind(network).to(device),
            many,
        )
    yield _Attempt(
        "scores of the system",
        f"{effort.score_queries:,} queries an image, answered by logits.",
        Square(queries=effort.score_queries),
        deployed,
        effort.score_images,
    )
    yield _Attempt(
        "labels of the system",
        f"{effort.label_queries:,} queries an image, answered by the class.",
        HopSkipJump(queries=effort.label_queries),
        deployed,
        effort.label_images,
    )


class _Shown:
    """Test images, and whether the deployed model stays right on what attackers make of them."""

    def __init__(self, deployed: nn.Module, test: Dataset, images: int) -> None:
        part = test.take(min(images, len(test)))
        device = next(deployed.parameters()).device
        self.deployed, self.keys = deployed, part.ids.keys
        self.x, self.y = part.images(torch.arange(len(part))).to(device), part.y.to(device)

    def attacked(self, attempt: _Attempt, setting: Setting) -> Tensor:
        streams = RandomStreams(derive(setting.seed, attempt.knows), self.keys)
        return attempt.attack(attempt.victim, self.x, self.y, setting.threat, random=streams)

    @torch.no_grad()
    def withstood(self, x_adv: Tensor) -> Count:
        """Images that are right before and after."""
        right = [
            torch.cat([self.deployed(part).argmax(1) for part in torch.split(images, 1024)])
            == self.y
            for images in (self.x, x_adv)
        ]
        return Count(hits=int((right[0] & right[1]).sum()), n=len(self.y))

    @torch.no_grad()
    def not_taken_for(self, targets: Tensor, x_adv: Tensor) -> Count:
        """Images that the deployed model does not take for their target."""
        taken = [self.deployed(part).argmax(1) for part in torch.split(x_adv, 1024)]
        return Count(hits=int((torch.cat(taken) != targets).sum()), n=len(targets))
