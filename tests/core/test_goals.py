"""Goals and the two losses that climb to them."""

import pytest
import torch
import torch.nn.functional as F

from tempering.core.errors import DataError, UsageError
from tempering.core.goals import (
    EvadeDetector,
    Goal,
    Targeted,
    TargetedLabels,
    Untargeted,
    log_odds,
    margin,
    reached,
)

Y = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("goal", "protected"),
    [
        (Untargeted(), [[1, 0, 0, 0], [0, 0, 1, 0]]),
        (EvadeDetector(flag=3), [[1, 0, 0, 1], [0, 0, 1, 1]]),
        (Targeted(target=3), [[1, 1, 1, 0], [1, 1, 1, 0]]),
        (TargetedLabels(), [[0, 1, 1, 1], [1, 1, 0, 1]]),
    ],
)
def test_what_the_defender_wants_to_win(goal: Goal, protected: list[list[int]]) -> None:
    assert goal.protected(Y, 4).int().tolist() == protected


@pytest.mark.parametrize(
    "goal", [Untargeted(), EvadeDetector(flag=3), Targeted(target=3), TargetedLabels()]
)
def test_reached_margin_and_log_odds_agree(goal: Goal) -> None:
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).double()
    protected = goal.protected(torch.arange(200) % 3, 4)
    for row in range(200):
        held = {int(i) for i in protected[row].nonzero()}
        wrong = [float(logits[row, i]) for i in range(4) if i not in held]
        right = [float(logits[row, i]) for i in held]
        assert float(margin(logits, protected)[row]) == max(wrong) - max(right)
        assert bool(reached(logits, protected)[row]) == (max(wrong) > max(right))
        p = logits[row].softmax(0)[sorted(held)].sum()
        assert float(log_odds(logits, protected)[row]) == pytest.approx(
            float(torch.log((1 - p) / p))
        )


def test_log_odds_climb_in_the_direction_of_cross_entropy() -> None:
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)).double()
    y = torch.arange(20) % 5
    logits.requires_grad_()
    (ours,) = torch.autograd.grad(log_odds(logits, Untargeted().protected(y, 5)).sum(), logits)
    (entropy,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), logits)
    assert torch.allclose(F.cosine_similarity(ours, entropy), torch.ones(20).double())


def test_log_odds_have_a_slope_where_cross_entropy_has_none() -> None:
    logits = torch.tensor([[300.0, 0.0, 0.0]], requires_grad=True)
    (ours,) = torch.autograd.grad(log_odds(logits, Untargeted().protected(Y[:1], 3)).sum(), logits)
    (entropy,) = torch.autograd.grad(F.cross_entropy(logits, Y[:1]), logits)
    assert not entropy.any()
    assert ours.tolist() == [[-1.0, 0.5, 0.5]]


@pytest.mark.parametrize("y", [torch.tensor([0, 7]), torch.tensor([-1, 0])])
@pytest.mark.parametrize("goal", [Untargeted(), EvadeDetector(flag=3), TargetedLabels()])
def test_labels_that_name_no_output_are_refused(goal: Goal, y: torch.Tensor) -> None:
    with pytest.raises(DataError, match="for a model of 4 outputs: give labels from 0 to 3"):
        goal.protected(y, 4)


def test_a_target_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="target -1: give the index of an output"):
        Targeted(-1)
