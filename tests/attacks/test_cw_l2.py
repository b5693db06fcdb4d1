"""C&W's confidence: the margin that a success must have."""

import pytest
import torch

from tempering.attacks import CWL2
from tempering.core.threats import L2
from tests.attacks.linear import linear_case


@pytest.mark.parametrize("confidence", [0.0, 0.2])
def test_the_nearest_success_has_the_margin_that_is_asked_for(confidence: float) -> None:
    case = linear_case(n=8, size=4, saturated=0.0)
    attack = CWL2(searches=6, iterations=200, confidence=confidence)
    x_adv = attack(case.model, case.x, case.y, L2(4.0))
    logits = case.model(x_adv).detach()
    gap = torch.where(case.y == 1, logits[:, 0] - logits[:, 1], logits[:, 1] - logits[:, 0])
    assert bool((gap >= confidence).all())
    case.gap.add_(confidence)
    distance = (x_adv - case.x).flatten(1).norm(dim=1)
    assert bool((distance <= 1.05 * case.needed("l2") + 1e-3).all())
