"""APGD: its reviews, what it costs, and what it gains over steps of one length."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import APGDCE, APGDDLR, APGDT, BIM, EOT, Attack, Transfer
from tempering.attacks.halving import review_windows
from tempering.attacks.losses import ratio, ratio_to
from tempering.core.goals import EvadeDetector, Targeted, Untargeted, log_odds, margin
from tempering.core.passes import Passes, counted
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, Linf, Threat
from tests.attacks.linear import linear_case

N = 60
X = RandomStreams.of(0, N).uniform((1, 4, 4)).double()


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A bumpy network, on which a fixed step is either too long or too short."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 5))
    nn.init.normal_(model[1].weight, std=3.0)
    return model.double().requires_grad_(False)


def test_reviews_come_when_the_paper_says() -> None:
    """p(0) = 0, p(1) = 0.22, p(j+1) = p(j) + max(p(j) - p(j-1) - 0.03, 0.06)."""
    points = [0.0, 0.22]
    while points[-1] < 1:
        points.append(points[-1] + max(points[-1] - points[-2] - 0.03, 0.06))
    expected = [round(100 * point) for point in points[1:] if point <= 1 + 1e-9]
    windows = review_windows(100)
    reviews = [step for step, window in enumerate(windows) if window]
    assert reviews == expected
    assert [windows[step] for step in reviews][:4] == [22, 19, 16, 13]
    assert len(review_windows(1)) == 2


@pytest.mark.parametrize(
    ("attack", "per_sample"),
    [
        (APGDCE(steps=10), Passes(11, 10)),
        (APGDDLR(steps=1), Passes(2, 1)),
        (
            APGDT(steps=10, targets=9, extra_restarts=0),
            Passes(1 + 11, 10),
        ),  # two classes, one target
    ],
    ids=str,
)
@pytest.mark.parametrize("threat", [Linf(1e-6), L2(1e-6)], ids=str)
def test_where_nothing_falls_every_step_is_paid(
    attack: Attack, per_sample: Passes, threat: Threat
) -> None:
    case = linear_case(n=41, size=4, saturated=0.0)
    with counted() as passes:
        attack(case.model, case.x, case.y, threat, batch_size=5)
    assert passes == Passes(41 * per_sample.forward, 41 * per_sample.backward)


def test_only_samples_close_to_success_get_extra_restarts(net: nn.Module) -> None:
    logits = net(X)
    y, second = logits.topk(2, dim=1).indices.unbind(1)
    near = ratio_to(logits, nn.functional.one_hot(y, 5).bool(), second) > -0.05
    assert 0 < int(near.sum()) < N
    with counted() as passes:
        APGDT(steps=10, targets=1, extra_restarts=2)(net, X, y, Linf(1e-9))
    assert passes.backward == 10 * N + 2 * 10 * int(near.sum())


def test_extra_restarts_break_what_one_start_does_not(net: nn.Module) -> None:
    y = net(X).argmax(1)

    def broken(extra_restarts: int) -> Tensor:
        attack = APGDT(steps=2, targets=1, extra_restarts=extra_restarts)
        return net(attack(net, X, y, Linf(0.04))).argmax(1) != y

    without, with_them = broken(0), broken(5)
    assert bool((with_them | ~without).all())
    assert int(with_them.sum()) > int(without.sum())


def test_in_l1_the_wider_balls_come_out_of_the_same_steps() -> None:
    case = linear_case(n=10, size=4, saturated=0.0)
    with counted() as passes:
        APGDCE(steps=10)(case.model, case.x, case.y, L1(1e-6))
    assert passes == Passes(10 * (10 + 3), 10 * 10)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_fooled_samples_leave_at_once(net: nn.Module, batch_size: int) -> None:
    y = net(X).argmax(1)
    with counted() as passes:
        x_adv = APGDCE(steps=50)(net, X, y, Linf(0.2), batch_size=batch_size)
    assert bool((net(x_adv).argmax(1) != y).all())
    assert passes.backward < 10 * N


@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.08)], ids=str)
def test_the_whole_climb_goes_higher_than_one_of_fixed_steps(
    net: nn.Module, threat: Threat
) -> None:
    y = net(X).argmax(1)
    protected = Untargeted().protected(y, 5)

    def heights(attack: Attack) -> Tensor:
        return log_odds(net(attack(net, X, y, threat)), protected)

    ours = heights(APGDCE(steps=50, until_fooled=False))
    fixed = heights(BIM(steps=50, until_fooled=False))
    assert float(ours.mean()) > float(fixed.mean())
    assert float((ours > fixed - 1e-3).double().mean()) > 0.85


def test_the_whole_climb_keeps_the_largest_loss_over_all_targets(net: nn.Module) -> None:
    """Also of samples that are wrong already: a surrogate may be."""
    y = net(X).argmax(1)
    y[::2] = (y[::2] + 1) % 5
    whole = APGDT(steps=20, targets=4, until_fooled=False, top_targets=None)(net, X, y, Linf(0.05))
    assert bool((whole != X).flatten(1).any(1).all())
    protected = Untargeted().protected(y, 5)

    def best(x: Tensor) -> Tensor:
        logits = net(x)
        scores = [ratio_to(logits, protected, torch.full_like(y, k)) for k in range(5)]
        return torch.stack(scores, 1).masked_fill(protected, -torch.inf).amax(1)

    first = APGDT(steps=20, targets=1, until_fooled=False)(net, X, y, Linf(0.05))
    assert float((best(whole) < best(first) - 1e-9).double().mean()) < 0.2


@pytest.mark.parametrize("attack", [APGDT(steps=30), APGDDLR(steps=30)], ids=str)
@pytest.mark.parametrize(
    ("goal", "wanted"),
    [(Targeted(2), {2}), (EvadeDetector(flag=3), {0, 1, 2, 4}), (Untargeted(), set(range(5)))],
)
def test_goals_are_met(
    net: nn.Module, attack: Attack, goal: Targeted | EvadeDetector | Untargeted, wanted: set[int]
) -> None:
    y = net(X).argmax(1)
    answers = net(attack(net, X, y, Linf(0.6), goal=goal)).argmax(1)
    assert set(answers.tolist()) <= wanted
    if not isinstance(goal, Targeted):
        assert not (answers == y).any()


LOGITS = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)).double()
LABELS = torch.arange(30) % 6


def test_the_ratio_loss_is_the_papers() -> None:
    """-(z_y - max z_i) / (z1 - z3); towards t: -(z_y - z_t) / (z1 - (z3 + z4) / 2)."""
    keep = Untargeted().protected(LABELS, 6)
    target = (LABELS + 1) % 6
    for row, logits in enumerate(LOGITS):
        z, y, t = logits.tolist(), int(LABELS[row]), int(target[row])
        top = sorted(z, reverse=True)
        other = max(value for number, value in enumerate(z) if number != y)
        assert float(ratio(LOGITS, keep)[row]) == pytest.approx(-(z[y] - other) / (top[0] - top[2]))
        assert float(ratio_to(LOGITS, keep, target)[row]) == pytest.approx(
            -(z[y] - z[t]) / (top[0] - (top[2] + top[3]) / 2)
        )


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_ratio_losses_do_not_change_with_scale_and_know_few_classes(classes: int) -> None:
    logits, y = LOGITS[:, :classes], LABELS % classes
    keep, target = Untargeted().protected(y, classes), (y + 1) % classes
    for loss in (ratio(logits, keep), ratio_to(logits, keep, target)):
        assert bool(loss.isfinite().all())
    if classes > 2:
        assert torch.allclose(ratio(logits, keep), ratio(1000 * logits, keep))
        assert torch.allclose(ratio_to(logits, keep, target), ratio_to(9 * logits, keep, target))


@pytest.mark.parametrize("flag", [2.5, 3.5])
def test_ratio_losses_have_a_gradient_where_a_detectors_output_is_ahead(flag: float) -> None:
    logits = torch.tensor([[3.0, 1.0, 0.5, 0.0, -0.5, flag]], requires_grad=True)
    keep, target = EvadeDetector(5).protected(torch.tensor([0]), 6), torch.tensor([1])
    top = max(3.0, flag)
    for loss, base in (
        (ratio(logits, keep), top - 0.5),
        (ratio_to(logits, keep, target), top - 0.25),
    ):
        assert float(loss.detach()) == pytest.approx((1.0 - top) / base)
        (slope,) = torch.autograd.grad(loss, logits)
        assert float(slope[0, 1]) > 0
        assert float(slope[0, 0 if flag < 3 else 5]) < 0


@pytest.mark.parametrize("goal", [Targeted(2), Untargeted()])
def test_ratio_losses_of_other_goals_rank_all_outputs(goal: Targeted | Untargeted) -> None:
    keep = goal.protected(LABELS, 6)
    top = LOGITS.topk(3).values
    expected = margin(LOGITS, keep) / (top[:, 0] - top[:, 2])
    assert torch.allclose(ratio(LOGITS, keep), expected)


@pytest.mark.parametrize("top_targets", [None, 2])
def test_targets_side_by_side_end_as_one_by_one(net: nn.Module, top_targets: int | None) -> None:
    """A batch with room for every target, and one that has none."""
    x, attack = X[-20:], APGDT(steps=10, top_targets=top_targets)
    y = net(x).argmax(1)
    for threat in (Linf(0.03), L2(0.12), L1(0.3)):
        single, many = (attack(net, x, y, threat, batch_size=size) for size in (1, 9 * len(x)))
        assert torch.allclose(single, many, rtol=0, atol=1e-9)
        fooled = net(many).argmax(1) != y
        assert 0 < int(fooled.sum()) < len(x)


def test_no_sample_is_shown_twice_at_a_time_to_a_model_that_remembers(net: nn.Module) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            answers: Tensor = self.net(x + 0.05 * torch.randn_like(x))
            return answers

    x, y = X[:12], net(X[:12]).argmax(1)
    for attack, model, eps in (
        (EOT(APGDT(10), 2, alone=True), Noisy(), 0.03),
        (Transfer(APGDT(10), net, momentum=0.9), net, 0.1),
        (Transfer(APGDT(10), net, diversity=0.5), net, 0.1),
        (Transfer(EOT(APGDT(10), 1), net, momentum=0.9), net, 0.1),
    ):
        single = attack(model, x, y, Linf(eps), batch_size=1)
        for batch_size in (4, 12, 256):
            many = attack(model, x, y, Linf(eps), batch_size=batch_size)
            assert torch.allclose(single, many, rtol=0, atol=1e-9), batch_size
