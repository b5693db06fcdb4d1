"""The climb that gradient attacks share: who leaves when, and what it costs, in exact numbers."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import BIM, FGSM, PGD, Attack, CWLinf, Restarts
from tempering.attacks.ascent import random_start
from tempering.core.backward import true_gradient
from tempering.core.goals import EvadeDetector, Goal, Targeted
from tempering.core.passes import Passes, counted
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf, Threat
from tempering.defenses import Squeeze
from tempering.models import strided_cnn
from tests.attacks.linear import Case, linear_case

STEP = 0.02
EPS = 0.1


@pytest.fixture(scope="module")
def case() -> Case:
    return linear_case(n=41, size=4, saturated=0.0)


def steps_needed(case: Case) -> Tensor:
    """Steps of BIM until a sample is on the other side, shape (n,)."""
    return (case.needed("linf") / STEP).floor().long() + 1


def test_a_fooled_sample_leaves_at_its_first_fooling_point(case: Case) -> None:
    attack, threat = BIM(steps=20, step_size=STEP), Linf(EPS)
    x_adv = attack(case.model, case.x, case.y, threat)
    expected = (steps_needed(case).double() * STEP).clamp_max(EPS)
    assert len(expected.unique()) >= 4
    assert torch.allclose(threat.distance(x_adv, case.x), expected)


def test_the_whole_climb_ends_at_the_border_for_all(case: Case) -> None:
    attack, threat = BIM(steps=20, step_size=STEP, until_fooled=False), Linf(EPS)
    x_adv = attack(case.model, case.x, case.y, threat)
    assert torch.allclose(threat.distance(x_adv, case.x), torch.full((41,), EPS).double())


def test_the_last_step_is_taken(case: Case) -> None:
    x_adv = BIM(steps=3, step_size=STEP)(case.model, case.x, case.y, Linf(EPS))
    broken = case.broken(x_adv)
    assert torch.equal(broken, steps_needed(case) <= 3)
    assert torch.allclose(
        Linf(EPS).distance(x_adv, case.x)[~broken], torch.tensor(3 * STEP).double()
    )


def test_a_sample_that_is_wrong_already_is_left_alone(case: Case) -> None:
    x_adv = BIM(steps=5)(case.model, case.x, 1 - case.y, Linf(EPS))
    assert torch.equal(x_adv, case.x)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 40, 41, 1000])
@pytest.mark.parametrize("steps", [1, 3, 6, 20])
def test_no_pass_is_wasted_at_any_batch_size(case: Case, batch_size: int, steps: int) -> None:
    attack = BIM(steps=steps, step_size=STEP)
    with counted() as passes:
        attack(case.model, case.x, case.y, Linf(EPS), batch_size=batch_size)
    # the point after k steps is looked at in evaluation k + 1; a sample that never falls takes all
    falls = steps_needed(case) * STEP <= EPS
    looks = torch.where(falls, steps_needed(case) + 1, 10**6).clamp_max(steps)
    assert passes == Passes(forward=int(looks.sum()), backward=int(looks.sum()))


@pytest.mark.parametrize(
    ("attack", "per_sample"),
    [
        (FGSM(), Passes(1, 1)),
        (BIM(steps=7), Passes(7, 7)),
        (PGD(steps=7), Passes(7, 7)),
        (CWLinf(steps=7, until_fooled=False), Passes(7, 7)),
        (Restarts(PGD(steps=7), 3), Passes(3 * 7 + 2, 3 * 7)),
    ],
    ids=str,
)
@pytest.mark.parametrize("threat", [Linf(1e-6), L2(1e-6)], ids=str)
def test_where_nothing_falls_every_step_is_paid(
    case: Case, attack: Attack, per_sample: Passes, threat: Threat
) -> None:
    with counted() as passes:
        attack(case.model, case.x, case.y, threat, batch_size=5)
    assert passes == Passes(41 * per_sample.forward, 41 * per_sample.backward)


def test_starts_in_l2_lie_at_every_distance_and_in_linf_anywhere_in_the_cube() -> None:
    x, streams = torch.full((400, 1, 8, 8), 0.5), RandomStreams.of(0, 400)
    far = L2(0.4).distance(random_start(L2(0.4), x, streams), x) / 0.4
    even = torch.linspace(0, 1, 400)
    assert float((far.sort().values - even).abs().max()) < 0.08
    assert torch.equal(random_start(Linf(0.1), x, streams), Linf(0.1).sample(x, streams))


def test_bfloat16_models_leave_images_in_float32() -> None:
    torch.manual_seed(0)
    model = strided_cnn((1, 8, 8), 3, width=2, hidden=8)
    x, y = RandomStreams.of(0, 6).uniform((1, 8, 8)), torch.arange(6) % 3
    threat = Linf(0.1)
    attack = PGD(steps=4, until_fooled=False)
    x_adv = attack(model.to(torch.bfloat16), x, y, threat)
    assert x_adv.dtype == torch.float32
    assert bool(threat.contains(x_adv, x).all())
    assert bool(((x_adv - x).abs() <= 0.1 + 1e-6).all())
    assert not torch.equal(x_adv, x_adv.bfloat16().float())


class Logits(nn.Module):
    """Four logits: linear in the image, without a dead region."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("attack", [PGD(steps=20), CWLinf(steps=20), BIM(steps=20)], ids=str)
@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        (Targeted(target=2), {2}),
        (EvadeDetector(flag=3), {0, 1, 2}),
        (EvadeDetector(flag=0), {1, 2, 3}),
    ],
)
def test_attacks_climb_to_their_goal(attack: Attack, goal: Goal, wanted: set[int]) -> None:
    model = Logits()
    x = RandomStreams.of(1, 20).uniform((1, 4, 4))
    y = model(x).argmax(1)
    x_adv = attack(model, x, y, Linf(0.9), goal=goal)
    answers = model(x_adv).argmax(1)
    assert set(answers.tolist()) <= wanted
    if isinstance(goal, EvadeDetector):
        assert not (answers == y).any()


def test_gradients_pass_straight_through_a_squeeze() -> None:
    """Where all pixels saturate, the true gradient sees nothing and the honest one everything."""
    torch.manual_seed(0)
    model = nn.Sequential(Squeeze(0.3, 0.7), Logits())
    x = RandomStreams.of(2, 30).uniform((1, 4, 4)).round()
    y = model(x).argmax(1)
    attack, threat = BIM(steps=20), Linf(0.6)
    with true_gradient():
        assert torch.equal(attack(model, x, y, threat), x)
    assert float((model(attack(model, x, y, threat)).argmax(1) != y).float().mean()) > 0.9
