"""Models with a stepwise transform at their input meet a box search first."""

import pytest
import torch
from torch import nn

from tempering.attacks import FGSM
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.defenses import BitDepth, MedianFilter, Squeeze, Threshold
from tempering.evaluation import (
    EvaluationConfig,
    EvaluationResult,
    Evaluator,
    Protocol,
    Target,
    each,
)
from tempering.evaluation.config import CurveConfig
from tempering.evaluation.protocols import protocol_of
from tests.evaluation.toys import SHAPE, context, dataset


def judged(
    front: nn.Module, protocol: Protocol, threat: Threat, curve: CurveConfig | None
) -> EvaluationResult:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(front, nn.Flatten(), nn.Linear(9, 2)).eval()
    x = RandomStreams.of(3, 12).uniform(SHAPE).float()
    data = dataset(x, model(x).argmax(1))
    config = EvaluationConfig(threat, protocol, curve=curve, certify=False, examined=0)
    return Evaluator(context(data), config).evaluate(Target.of("given", model, data))


def stages(front: nn.Module, protocol: Protocol, threat: Threat) -> list[str]:
    return list(judged(front, protocol, threat, None).stages)


@pytest.mark.parametrize(
    ("name", "threat"),
    [
        ("quick", Linf(0.05)),
        ("autoattack", Linf(0.05)),
        ("quick", L2(0.1)),
        ("quick", L1(0.2)),
        ("quick", L0(1)),
        ("quick", Patch(1 / 9)),
    ],
    ids=str,
)
def test_behind_a_threshold_box_is_first(name: str, threat: Threat) -> None:
    assert stages(Threshold(0.5), protocol_of(name, threat), threat)[0] == "box-10"


def test_nothing_is_added_elsewhere() -> None:
    threat = Linf(0.05)
    assert "box-10" not in stages(MedianFilter(3), protocol_of("quick", threat), threat)
    assert "box-10" not in stages(Squeeze(0.3, 0.7), protocol_of("quick", threat), threat)
    assert "box-10" not in stages(Squeeze(0.3, 0.7), protocol_of("quick", L2(0.1)), L2(0.1))
    assert "box-10" not in stages(BitDepth(5), protocol_of("quick", L2(0.1)), L2(0.1))
    assert "box-10" not in stages(MedianFilter(3), protocol_of("quick", L0(1)), L0(1))
    assert "box-10" not in stages(Threshold(), each([FGSM()]), threat)


def test_box_is_in_the_curve_behind_a_threshold() -> None:
    threat = Linf(0.05)
    for front, added in ((Threshold(0.5), True), (Squeeze(0.3, 0.7), False)):
        found = judged(front, protocol_of("quick", threat), threat, CurveConfig())
        assert {"box-10" in str(point.config) for point in found.curve} == {added}
