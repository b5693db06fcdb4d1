"""The passes that objectives declare are those that they make."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
from torch import Tensor, nn

from tempering.attacks import PGD
from tempering.core.threats import L2
from tempering.training import (
    ARD,
    AWP,
    FGSMRS,
    NFGSM,
    RSLAD,
    Cost,
    Free,
    GaussianNoise,
    GeneratorPartner,
    GradAlign,
    LogitPairing,
    Mart,
    MultiNorm,
    Objective,
    Paper,
    PGDTraining,
    SmoothAdv,
    Standard,
    StepConfig,
    Trades,
    Trim,
    Wrapper,
    train_steps,
)
from tempering.training.objectives.registry import OBJECTIVES, passes_of
from tests.architecture.sources import ROOT
from tests.training.toys import ENGINE, THREAT, dataset, network

STEPS, SIZE = 6, 12


class Counting(nn.Module):
    """Counts the samples that go through it, whichever copy of it is asked."""

    forwards: ClassVar[int] = 0
    backwards: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: Tensor) -> Tensor:
        Counting.forwards += len(x)
        logits: Tensor = self.network(x)
        if logits.requires_grad:
            logits.register_hook(_count)
        return logits


def _count(gradient: Tensor) -> None:
    Counting.backwards += len(gradient)


def measured(objective: Objective, steps: int) -> tuple[int, int]:
    Counting.forwards = Counting.backwards = 0
    config = StepConfig(THREAT, batch_size=SIZE, seed=3, total_steps=STEPS)
    train_steps(Counting(), dataset(), objective, steps, config=config, engine=ENGINE)
    return Counting.forwards, Counting.backwards


@pytest.mark.parametrize(
    "objective",
    [
        Standard(),
        GaussianNoise(),
        Paper(attacks=(PGD(3, until_fooled=False),), clean=0, noisy=0, adversarial=1),
        Trades(steps=3),
        Mart(steps=3),
        FGSMRS(),
        NFGSM(),
        GradAlign(),
        Free(m=3),
        LogitPairing(steps=3),
        MultiNorm(steps=2, threats=(L2(1.0),)),
        MultiNorm(steps=2, threats=(L2(1.0),), mix="alternating"),
        SmoothAdv(samples=2, steps=3),
        ARD(network(2), steps=3),
        RSLAD(network(2), steps=3),
        GeneratorPartner(),
        PGDTraining(steps=3),
        Trim(Trades(steps=1)),
        AWP(Trades(steps=2)),
        AWP(Free(m=2)),
    ],
    ids=lambda objective: objective.spec().split(",")[0],
)
def test_declared_passes_are_made(objective: Objective) -> None:
    none, whole = measured(objective, 0), measured(objective, STEPS)
    cost = objective.inner_passes().plus(objective.update_passes())
    made = [(after - before) / STEPS / SIZE for before, after in zip(none, whole, strict=True)]
    assert made == [cost.forward, cost.backward]


def test_the_docs_state_the_passes_of_each_objective() -> None:
    text = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `([\w-]+)` \|.*\| ([\d.]+, [\d.]+) \|", text, re.MULTILINE))
    listed = {
        name: f"{cost['forward']:g}, {cost['backward']:g}"
        for name, kind in OBJECTIVES.items()
        if not issubclass(kind, Wrapper)
        for cost in [passes_of(kind)]
    }
    assert stated == listed


def test_costs_add_up() -> None:
    assert Cost(1, 2).plus(Cost(3, 4).times(2)) == Cost(7, 10)
