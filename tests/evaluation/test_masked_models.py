"""Models that hide from gradients are judged by what gets behind them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import BPDA, FGSM, PGD
from tempering.core.errors import NoGradientError
from tempering.core.passes import Passes, counted
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.evaluation import (
    EvaluationConfig,
    EvaluationResult,
    Evaluator,
    Protocol,
    Stage,
    Target,
)
from tests.attacks.trained import fresh, known, trained
from tests.evaluation import defences
from tests.evaluation.toys import context, dataset

THREAT = Linf(0.1)
SHORT = Protocol("short", (Stage(FGSM()), Stage(PGD(steps=10))))


def evaluated(
    model: nn.Module, x: Tensor, y: Tensor, config: EvaluationConfig | None = None
) -> EvaluationResult:
    data = dataset(x, y, 10)
    config = config or EvaluationConfig(THREAT, SHORT, curve=None, certify=False)
    return Evaluator(context(data), config).evaluate(Target.of_any("given", model, data))


def robust(result: EvaluationResult) -> int:
    return int(result.robust.sum())


def names(result: EvaluationResult) -> list[str]:
    return [flag.name for flag in result.flags]


class Ending(nn.Module):
    """A network, and something after it."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.end = trained(), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.net(x))


@cache
def robust_without_an_end(rows: tuple[int, ...]) -> int:
    """How many of some images the bare network stands on; evaluated once."""
    x, y = known(24)
    return robust(evaluated(trained(), x[list(rows)], y[list(rows)]))


def clipped(p: Tensor) -> Tensor:
    return p.clamp_(min=1e-7)


@pytest.mark.parametrize(
    "end",
    [
        lambda z: torch.log((20 * z).softmax(1).clamp(min=1e-7)),
        lambda z: torch.maximum((20 * z).softmax(1), torch.tensor(1e-7)).log(),
        lambda z: torch.log(clipped((20 * z).softmax(1))),
        lambda z: torch.log(torch.softmax(20 * z, 1).clamp_min(1e-7)),
        lambda z: torch.tanh(4 * z),
        lambda z: torch.sigmoid(2 * z),
    ],
)
def test_a_network_is_as_robust_as_its_logits_however_they_are_squashed(
    end: Callable[[Tensor], Tensor],
) -> None:
    x, y = known(24)
    model = Ending(end)
    right = model(x).argmax(1) == y
    plain = robust_without_an_end(tuple(right.nonzero()[:, 0].tolist()))
    assert 0 < plain < int(right.sum())
    assert abs(robust(evaluated(model, x[right], y[right])) - plain) <= 1


def test_an_image_without_a_finite_gradient_is_attacked_without_gradients() -> None:
    x, y = known(6)
    model = defences.Standardises(trained())
    blank = torch.zeros(1, 1, 28, 28)
    x = torch.cat([blank, x])
    y = model(x).argmax(1)
    protocol = Protocol("one step", (Stage(FGSM()),))
    config = EvaluationConfig(Linf(0.3), protocol, curve=None, certify=False, examined=0)
    result = evaluated(model, x, y, config)
    (flag,) = [flag for flag in result.flags if flag.name == "gradients that are not finite"]
    assert flag.samples == ["0"]
    assert "square-2000" in result.stages
    assert not bool(result.get("worst", "any").per_sample.robust[0])
    assert set(result.broken_by[1:]) <= {"fgsm", ""}


def test_a_backward_pass_that_fails_is_flagged_and_the_model_attacked_without_gradients() -> None:
    x, y = known(6)
    config = EvaluationConfig(Linf(0.3), SHORT, curve=None, certify=False, examined=4)
    result = evaluated(defences.FailsBackward(trained()), x, y, config)
    (flag,) = [flag for flag in result.flags if flag.name == "failing backward pass"]
    assert "RuntimeError: not written yet" in flag.evidence
    assert "masked gradients" in names(result)
    assert robust(result) < 6
    assert any(name.startswith("square") for name in result.broken_by)
    with pytest.raises(NoGradientError, match="backward pass fails: RuntimeError: not written"):
        FGSM()(defences.FailsBackward(trained()), x, y, Linf(0.3))


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_a_gradient_that_is_turned_round_is_noticed_against_the_clock_too(
    seconds: float | None,
) -> None:
    x, y = known(12)
    config = EvaluationConfig(Linf(0.2), SHORT, curve=None, certify=False, seconds=seconds)
    result = evaluated(defences.Reversed(trained()), x, y, config)
    assert "gradients disagree with finite differences" in names(result)
    assert "not examined" not in names(result)
    assert robust(result) < 12


def test_what_there_was_no_time_to_examine_is_named() -> None:
    class Slow(defences.Defended):
        def forward(self, x: Tensor) -> Tensor:
            torch.randn(400, 400) @ torch.randn(400, 400)
            return self.net(x)

    x, y = known(12)
    config = EvaluationConfig(Linf(0.2), SHORT, curve=None, certify=False, seconds=0.5)
    result = evaluated(Slow(trained()), x, y, config)
    (flag,) = [flag for flag in result.flags if flag.name == "not examined"]
    assert "no time" in flag.evidence


def test_against_the_clock_what_is_left_meets_attacks_without_gradients() -> None:
    x, y = known(8)
    config = EvaluationConfig(
        Linf(0.02), SHORT, curve=None, certify=False, examined=0, seconds=60.0
    )
    assert "hopskipjump-2000" in evaluated(trained(), x, y, config).stages


def test_a_model_that_masks_its_gradient_meets_label_only_attacks_and_transfer() -> None:
    x, y = known(12)
    asked: list[float] = []

    def surrogate(seconds: float) -> nn.Module:
        asked.append(seconds)
        return trained(1)

    config = EvaluationConfig(THREAT, SHORT, curve=None, certify=False, surrogate=surrogate)
    result = evaluated(defences.Votes(trained()), x, y, config)
    assert "outputs are votes" in names(result)
    assert asked == [float("inf")]
    assert "hopskipjump-2000" in result.stages
    assert "pgd-40 (gray-box)" in result.stages
    honest = evaluated(trained(), x, y, config)
    assert asked == [float("inf")]
    assert robust(result) <= robust(honest) + 3


def test_functions_that_saturate_on_the_way_are_straightened() -> None:
    x, y = known(16)
    model = defences.Code(trained())
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]
    left = {}
    for attack in (PGD(steps=40), BPDA(PGD(steps=40))):
        x_adv = attack(model, x, y, Linf(0.2), RandomStreams.of(0, len(x)))
        left[attack.label()] = int((model(x_adv).argmax(1) == y).sum())
    assert left["pgd-40+bpda"] <= left["pgd-40"] // 2


def test_a_random_model_is_judged_by_many_draws_that_depend_on_the_seed() -> None:
    x, y = known(24)
    model = defences.Jitter(trained(), 0.6)
    config = EvaluationConfig(THREAT, SHORT, curve=None, certify=False)
    first, second = (evaluated(model, x, y, config) for _ in range(2))
    assert first.clean.tolist() == second.clean.tolist()
    assert robust(first) == robust(second)
    (flag,) = [flag for flag in first.flags if flag.name == "non-deterministic model"]
    low, high = _between(flag.evidence)
    assert low < high


def _between(evidence: str) -> tuple[int, int]:
    words = evidence.split("; ")[-1].split()
    return int(words[0]), int(words[2])


def test_a_random_model_costs_a_pass_a_draw() -> None:
    x, y = known(4)
    data = dataset(x, y, 10)
    quiet = EvaluationConfig(THREAT, Protocol("none", ()), curve=None, certify=False, examined=0)
    run = partial(Evaluator(context(data), quiet).evaluate)

    def passes(model: nn.Module) -> Passes:
        with counted() as made:
            run(Target.of("given", model, data))
        return made

    class Declared(defences.Jitter):
        input_gradient = "true"
        random = True

    once = passes(fresh(0))
    many = passes(Declared(fresh(0)))
    assert many.forward - once.forward >= 15 * 4
