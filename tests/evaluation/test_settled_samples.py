"""What settles a sample in a cascade: an unnoticed success, once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tempering.attacks import BIM, FGSM, PGD, Square
from tempering.attacks.base import Attack, Problem
from tempering.core.goals import EvadeDetector
from tempering.core.probe import Probe
from tempering.core.threats import Linf
from tempering.evaluation import (
    AttackResult,
    EvaluationConfig,
    EvaluationResult,
    Evaluator,
    Protocol,
    Stage,
    measure,
)
from tests.evaluation.toys import Centroids, Net, context, dataset, target

THREAT = Linf(0.32)
STAYS, FLAGGED, MISLED = 0.0, 0.1, 0.32
"""Steps from 0.34: the model says 0 below 0.35, flags up to 0.65, and says 1 above."""
SOURCE = Centroids(0.2, 0.8, 0.5)


@dataclass(frozen=True)
class Moves(Attack):
    """Moves all pixels by one step, or by another where a flag is to be evaded."""

    name: ClassVar[str] = "moves"
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    source: ClassVar[str] = "nobody"

    step: float
    evading: float

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        return problem.x + (self.evading if isinstance(problem.goal, EvadeDetector) else self.step)

    def label(self) -> str:
        return f"moves-{self.step:g}-{self.evading:g}"


def alone(attack: Attack) -> AttackResult:
    data = dataset(torch.full((3, 1, 1, 1), 0.34), torch.zeros(3).long())
    return measure(context(data), target(SOURCE, data), attack, THREAT)


def evaluated(
    stages: Sequence[Stage], model: torch.nn.Module = SOURCE, ranked: bool = False
) -> EvaluationResult:
    threat, data = THREAT, dataset(torch.full((3, 1, 1, 1), 0.34), torch.zeros(3).long())
    if isinstance(model, Net):
        x = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(3))
        threat, data = Linf(0.05), dataset(x, model(x).argmax(1), classes=4)
    protocol = Protocol("mine", tuple(stages), ranked=ranked)
    config = EvaluationConfig(threat, protocol, curve=None, certify=False, examined=0)
    return Evaluator(context(data), config).evaluate(target(model, data))


def keeps_true_examples(found: EvaluationResult, result: AttackResult) -> int:
    """How many samples are lost; each has an image in the ball that is wrong and not flagged."""
    per_sample, clean = result.per_sample, found.get("clean").per_sample
    noticed = per_sample.robust if per_sample.detected is None else per_sample.detected
    lost = clean.robust & ~noticed
    assert per_sample.x_adv is not None
    with torch.no_grad():
        answers = found.target.model(per_sample.x_adv).argmax(1)
    assert torch.equal(answers[lost], per_sample.predicted[lost])
    assert bool((answers[lost] != clean.predicted[lost]).all())
    assert bool((per_sample.distance[lost] <= found.threat.eps + 1e-6).all())
    flag = -1 if found.target.flag is None else found.target.flag
    assert not bool((answers[lost] == flag).any())
    return int(lost.sum())


@pytest.mark.parametrize(
    ("attack", "severity", "kept"),
    [
        (Moves(FLAGGED, STAYS), 1, FLAGGED),
        (Moves(FLAGGED, 0.15), 1, FLAGGED),
        (Moves(FLAGGED, MISLED), 2, MISLED),
        (Moves(MISLED, STAYS), 2, MISLED),
        (Moves(STAYS, FLAGGED), 1, FLAGGED),
        (Moves(STAYS, MISLED), 2, MISLED),
        (Moves(STAYS, STAYS), 0, STAYS),
    ],
    ids=lambda value: value.label() if isinstance(value, Attack) else None,
)
def test_an_attempt_to_evade_the_flag_never_undoes_what_was_reached(
    attack: Attack, severity: int, kept: float
) -> None:
    per_sample = alone(attack).per_sample
    assert per_sample.severity.tolist() == [severity] * 3
    assert per_sample.x_adv is not None
    assert torch.allclose(per_sample.x_adv, torch.full((3, 1, 1, 1), 0.34 + kept))
    assert torch.equal(SOURCE(per_sample.x_adv).argmax(1), per_sample.predicted)


@pytest.mark.parametrize("ranked", [False, True])
def test_a_flagged_sample_is_not_settled_and_meets_the_next_stage(ranked: bool) -> None:
    stages = [Stage(Moves(FLAGGED, FLAGGED)), Stage(Moves(STAYS, STAYS)), Stage(Moves(MISLED, 0))]
    found = evaluated(stages, ranked=ranked)
    assert set(found.broken_by) == {"moves-0.32-0"}
    breaking = found.get("ranking" if ranked else "moves-0.32-0")
    assert bool((breaking.per_sample.forwards > 0).all())
    assert keeps_true_examples(found, found.get("worst")) == 3


@pytest.mark.parametrize("all_samples", [False, True])
@pytest.mark.parametrize("later", [Moves(STAYS, STAYS), Moves(FLAGGED, STAYS)], ids=str)
@pytest.mark.parametrize("first", [True, False], ids=["broken first", "broken last"])
def test_a_broken_sample_stays_broken_with_its_image(
    first: bool, later: Attack, all_samples: bool
) -> None:
    breaking = Moves(MISLED, MISLED)
    attacks = [breaking, later] if first else [later, breaking]
    found = evaluated([Stage(one, all_samples=all_samples) for one in attacks])
    assert set(found.broken_by) == {breaking.label()}
    for access in ("white", "any"):
        assert keeps_true_examples(found, found.get("worst", access)) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("all_samples", [False, True])
def test_the_worst_case_keeps_an_adversarial_image_of_every_broken_sample(
    all_samples: bool, ranked: bool
) -> None:
    attacks = [PGD(steps=5), FGSM(), BIM(steps=2), Square(queries=4)]
    found = evaluated([Stage(one, all_samples=all_samples) for one in attacks], Net(), ranked)
    for access in ("white", "any"):
        broken = keeps_true_examples(found, found.get("worst", access))  # type: ignore[arg-type]
        assert broken == sum(map(bool, found.broken_by)) > 5
