"""Gradients that a stage hides: raised by a planted fault, silent without it."""

import torch

from tempering.attacks import BIM
from tempering.core.threats import Linf
from tempering.defenses import Pipeline, Threshold
from tempering.evaluation import inspect, measure
from tempering.evaluation.flags import gradient_quality
from tempering.evaluation.gradients import without_gradient
from tests.evaluation.flags.demonstrations import sliced, trained
from tests.evaluation.flags.made import result
from tests.evaluation.toys import (
    Centroids,
    cloud,
    context,
    dataset,
    each_attack,
    linear,
    squeezed,
    target,
)


def test_a_gap_between_gradients_is_flagged_beyond_chance() -> None:
    adaptive, true = result("0" * 30 + "1" * 70), result("1" * 100, backward="true")
    flag = gradient_quality.check_masking_stage(adaptive, true)
    assert flag is not None
    assert flag.name == "gradient masking by a stage"
    assert flag.samples == list(range(30))
    assert "100.0 %" in flag.evidence
    assert "70.0 %" in flag.evidence
    assert gradient_quality.check_masking_stage(result("0" * 4 + "1" * 96), true) is None, (
        "4 of 4 may be chance"
    )
    assert gradient_quality.check_masking_stage(true, adaptive) is None


def test_a_hard_clamp_looks_robust_and_is_flagged() -> None:
    data = cloud()
    data = dataset(data.x.round() * 0.8 + 0.1, data.y)
    here, judged = context(data), target(squeezed(), data)
    evaluation = each_attack(here, judged, Linf(0.35), [BIM(steps=5)])
    flags = {flag.name: flag for flag in inspect(here, evaluation)}
    assert "gradient masking by a stage" in flags
    fooled = evaluation.attacks("white")[0].per_sample.robust.logical_not()
    stood = evaluation.attacks("white", "true")[0].per_sample.robust
    assert flags["gradient masking by a stage"].samples == list(data.keep(fooled & stood).ids.names)
    assert "zero gradients" not in flags, "the adaptive backward has a gradient"


class _Steps(Centroids):
    """Rounds its input: flat everywhere, with nothing to say so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward((x - x.detach()) * 0 + (x.detach() * 4).round() / 4)


def test_zero_gradients_are_found_and_flagged() -> None:
    data = dataset(torch.linspace(0, 0.2, 20).reshape(-1, 1, 1, 1), torch.zeros(20).long())
    here, judged = context(data), target(_Steps(0.2, 0.8, flag=False), data)
    zero = without_gradient(here, judged)
    assert zero.all()
    standing = measure(here, judged, BIM(steps=5), Linf(0.5)).per_sample
    assert standing.robust.all(), "it looks perfectly robust"
    flag = gradient_quality.check_zero_gradients(zero, standing)
    assert flag is not None
    assert len(flag.samples) == 20
    smooth = target(Centroids(0.2, 0.8, flag=False), data)
    assert not without_gradient(here, smooth).any()
    half_blind = linear()
    with torch.no_grad():
        half_blind[1].weight[:, :4] = 0.0
    assert not without_gradient(context(cloud()), target(half_blind, cloud())).any()
    assert gradient_quality.check_zero_gradients(torch.zeros(20).bool(), standing) is None
    lost = measure(here, smooth, BIM(steps=5), Linf(0.6)).per_sample
    assert not lost.robust.any()
    assert gradient_quality.check_zero_gradients(zero, lost) is None, (
        "what is lost anyway shows nothing"
    )


def test_a_declared_threshold_has_no_gradient_of_its_own_to_compare() -> None:
    behind = Pipeline(trained(), [Threshold(0.5)], classes=10)
    part = sliced(behind).correct()
    assert len(part) > 0
    assert gradient_quality.check_finite_differences(part) is None
