"""The headline and the curve say the same at the threat's eps."""

import torch
from torch import Tensor

from tempering.attacks import FAB
from tempering.attacks.base import Attack, Problem
from tempering.core.probe import Probe
from tempering.core.threats import Linf
from tempering.evaluation import EvaluationConfig, EvaluationResult, Evaluator, each
from tempering.evaluation.config import CurveConfig
from tempering.evaluation.minimum_norm import distances
from tests.evaluation.toys import (
    Scripted,
    cloud,
    context,
    linear,
    target,
    weights,
    worst_margin,
)

THREAT = Linf(8 / 255)


def evaluated(*attacks: Attack, samples: int = 60) -> EvaluationResult:
    data, model = cloud(), linear()
    config = EvaluationConfig(
        THREAT, each(attacks), curve=CurveConfig(samples=samples), certify=False, examined=0
    )
    return Evaluator(context(data), config).evaluate(target(model, data))


def left() -> Tensor:
    return worst_margin(linear(), cloud(), THREAT.eps) > 0


def test_what_only_the_curve_breaks_counts() -> None:
    data, model = cloud(), linear()
    result = evaluated(Scripted())
    assert torch.equal(result.robust, left())
    (at_eps,) = [one for one in result.curve if one.eps == THREAT.eps]
    assert at_eps.robust.hits == int(left().sum())
    label = f"{at_eps.attack} (curve)"
    assert list(result.stages)[-1] == label
    assert result.stages[label].survivors == int(left().sum())
    broken = result.clean & ~result.robust
    assert {name for name, new in zip(result.broken_by, broken, strict=True) if new} == {label}
    worst = result.get("worst", "any").per_sample
    assert worst.x_adv is not None
    assert bool((model(worst.x_adv[broken]).argmax(1) != data.y[broken]).all())
    assert bool(THREAT.contains(worst.x_adv, data.x).all())


def test_samples_beyond_those_of_the_curve_are_left_as_they_are() -> None:
    result = evaluated(Scripted(), samples=20)
    assert torch.equal(result.robust[:20], left()[:20])
    assert torch.equal(result.robust[20:], result.clean[20:])


def test_a_stage_is_added_only_if_the_curve_breaks_something_more() -> None:
    assert "(curve)" not in "".join(evaluated(FAB(steps=30)).stages)


class Corner(Scripted):
    """To the worst corner of the ball of the threat."""

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        w = weights(linear())[0].float()
        way = torch.where(problem.y == 1, -1.0, 1.0)[:, None] * w.sign()
        moved = problem.x + THREAT.eps * way.reshape(problem.x.shape)
        return moved.clamp(0, 1)


def test_a_distance_counts_as_the_threat_counts_it() -> None:
    """In float32 an image at 8/255 may be a rounding further away."""
    data, model = cloud(), linear()
    found = distances(context(data), target(model, data), Corner(), Linf(1.0))
    away = found.away[found.away.isfinite()]
    assert bool((away > THREAT.eps).any())
    assert torch.equal(found.per_sample(THREAT.eps).robust, left())
