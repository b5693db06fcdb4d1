"""The choice of certification methods: what they certify, and what that costs beside attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.certification import certify
from tempering.core.threats import Linf, Threat
from tempering.data.dataset import Dataset
from tempering.evaluation import EvaluationConfig, Evaluator, fast
from tempering.evaluation.certificates import OUT_OF_TIME, certify_samples
from tempering.evaluation.certification_survey import (
    CertificationBudget,
    MethodTrial,
    survey_methods,
)
from tests.evaluation.toys import Net, context, dataset, target

N = 60
THREAT = Linf(0.08)
RICH = CertificationBudget(saved=60.0, seconds=60.0)


def turned() -> nn.Sequential:
    """Turned forth and back: intervals widen at each turn, and CROWN sees that nothing moves."""
    a, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0)))
    w = torch.randn(9, generator=torch.Generator().manual_seed(1))
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 2)
    )
    with torch.no_grad():
        for layer, weight, bias in (
            (net[1], a, torch.full((9,), 3.0)),
            (net[3], a.T, 0.05 - 3 * a.T.sum(1)),
            (net[5], torch.stack([torch.zeros(9), w]), torch.tensor([0.0, -0.55 * w.sum()])),
        ):
            layer.weight.copy_(weight)  # type: ignore[operator]
            layer.bias.copy_(bias)  # type: ignore[operator]
    return net


def data() -> Dataset:
    x = torch.rand(N, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return dataset(x, turned()(x).argmax(1))


@dataclass(frozen=True)
class Memory:
    """Keeps what each step gave."""

    kept: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        if name not in self.kept:
            self.kept[name] = compute()
        return self.kept[name]


def test_no_method_stands_in_for_another() -> None:
    where, judged = context(data()), target(turned(), data())
    survey = survey_methods(where, judged, THREAT, torch.arange(N), RICH)
    assert survey.trials["interval"].certified == 0
    assert survey.trials["crown-ibp"].samples == len(survey.rows)
    left = len(survey.rows) - survey.trials["crown-ibp"].certified
    assert survey.trials["crown"].samples == left
    assert 0 < survey.trials["crown"].certified < left
    found = certify_samples(where, judged, THREAT, torch.arange(N), RICH)
    alone = certify(turned(), data().x, data().y, THREAT, methods=["crown"])
    assert bool((found.certified | ~alone.certified).all())
    assert found.settled["crown"] > survey.trials["crown"].certified
    assert any(line.startswith("crown: ") and "before attacks" in line for line in found.survey)


def test_a_method_that_costs_more_than_it_saves_waits_for_the_attacks() -> None:
    where, judged = context(data()), target(turned(), data())
    poor = CertificationBudget(saved=0.0, seconds=0.0)
    found = certify_samples(where, judged, THREAT, torch.arange(N), poor)
    assert set(found.spent) == {"interval", "crown-ibp"}
    assert found.given == []
    assert any("used after attacks" in line for line in found.survey)
    trial = MethodTrial("crown", samples=2, certified=2, seconds=0.1)
    assert not trial.worth(1000, CertificationBudget(saved=1.0, seconds=0.0), left=0.0)


def test_an_evaluation_certifies_what_its_methods_prove() -> None:
    assessment = tp.evaluate(turned(), data(), THREAT, protocol="quick")
    proven = certify(turned(), data().x, data().y, THREAT, methods=["crown"]).certified
    assert assessment.certified_correct >= int(proven.sum()) > 0
    assert assessment.certification[0].startswith("interval: ")


def test_a_resumed_evaluation_keeps_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, config = Memory(), EvaluationConfig(THREAT, fast(THREAT), curve=None, examined=0)
    evaluator = Evaluator(context(data()), config, memory)
    first = evaluator.evaluate(target(turned(), data()))
    prices = "tempering.evaluation.certificate_prices"
    monkeypatch.setattr(f"{prices}.IN_ANY_CASE", 0.0)
    monkeypatch.setattr(f"{prices}.attack_seconds", lambda _: 0.0)
    again = evaluator.evaluate(target(turned(), data()))
    assert torch.equal(again.certified, first.certified)
    assert again.certificates is not None
    assert first.certificates is not None
    assert list(again.certificates.survey) == list(first.certificates.survey)
    fresh = Evaluator(context(data()), config).evaluate(target(turned(), data()))
    assert int(fresh.certified.sum()) < int(first.certified.sum())


class OwnThreat(Linf):
    """A user's threat, which bounds do not know."""


class Dropping(Net):
    """Answers the same image in several ways."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.01 * torch.rand_like(x))


class Counting(Net):
    """Writes into itself."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1
        return super().forward(x)


class Sorting(Net):
    """Has an operation without bounds."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1).sort(1).values.view_as(x))


@pytest.mark.parametrize(
    ("model", "threat", "reason"),
    [
        (Sorting(), Linf(0.01), "sort"),
        (Counting(), Linf(0.01), "state"),
        (Dropping(), Linf(0.01), "rand"),
        (Net(), OwnThreat(0.01), "threat"),
    ],
    ids=["layer", "stateful", "random", "threat"],
)
def test_what_has_no_bounds_abstains_in_words(
    model: nn.Module, threat: Threat, reason: str
) -> None:
    x = torch.rand(12, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = Net()(x).argmax(1)
    assessment = tp.evaluate(model, dataset(x, y, 4), threat, protocol="quick")
    assert assessment.certified_correct == 0
    (told,) = assessment.certification
    assert told.startswith("no certificates: ")
    assert reason in told


def test_no_time_left_abstains_in_words() -> None:
    where, judged = context(data()), target(turned(), data())
    budget = CertificationBudget(saved=1.0, seconds=1.0, limit=0.0)
    found = certify_samples(where, judged, THREAT, torch.arange(N), budget)
    assert found.unsupported == OUT_OF_TIME
    assert not bool(found.certified.any())
