"""Planted weaknesses: what plain PGD misses, the adaptive attack finds."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import (
    BPDA,
    EOT,
    PGD,
    Attack,
    DeepFool,
    JointDetection,
    SurrogateRef,
    Transfer,
)
from tempering.core.backward import true_gradient
from tempering.core.errors import AttackError, ModelError, NoGradientError, UsageError
from tempering.core.goals import Targeted
from tempering.core.passes import counted
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tests.attacks.trained import accurate, known, standing, trained

ATTACK = PGD(steps=40)
FULL = PGD(steps=40, until_fooled=False)


class Clamp(nn.Module):
    """Black or white: a clamp so hard that no grey is left."""

    def forward(self, x: Tensor) -> Tensor:
        return ((x - 0.5) * 1000 + 0.5).clamp(0, 1)


class Grid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(x * 4) / 4


class Saturated(nn.Module):
    """Probabilities of logits so large that nothing but 0 and 1 is left."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained()
        self.soft = nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        probabilities: Tensor = self.soft(self.net(x) * 1e4)
        return (probabilities + 1e-12).log()


class Digits(nn.Module):
    """The ten brightest pixels, by number: no stage that keeps shapes, and no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.topk(10, 1).indices.to(x.dtype)


class WithinForward(nn.Module):
    """A clamp and a softmax that are no modules, so that no hook can be put on them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained()

    def forward(self, x: Tensor) -> Tensor:
        clamped = torch.clamp((x - 0.5) * 1000 + 0.5, 0, 1)
        return torch.softmax(self.net(clamped) * 1e4, 1)


class Shimmer(nn.Module):
    """Invisible and random, but twenty times as steep as the image."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.01 * torch.sin(2000 * x + 6.2832 * torch.rand_like(x))


class Roughness(nn.Module):
    """A detector: how far pixels are from the mean of their neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - nn.functional.avg_pool2d(x, 3, 1, 1)).abs().flatten(1).mean(1)


@pytest.mark.parametrize(
    ("defended", "eps", "least", "most"),
    [
        (nn.Sequential(Clamp(), trained()), 0.45, 0.9, 0.4),
        (nn.Sequential(Grid(), trained()), 0.2, 0.9, 0.1),
        (Saturated(), 0.2, 0.9, 0.1),
        (WithinForward(), 0.45, 0.9, 0.4),
    ],
    ids=["clamp", "round", "softmax", "within-forward"],
)
def test_bpda_finds_hidden_gradients_by_itself(
    defended: nn.Module, eps: float, least: float, most: float
) -> None:
    x, y = known()
    assert standing(defended, x, y) == 1
    threat = Linf(eps)
    assert standing(defended, ATTACK(defended, x, y, threat), y) >= least
    x_adv = BPDA(ATTACK)(defended, x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    assert standing(defended, x_adv, y) <= most


def test_bpda_leaves_a_model_that_hides_nothing_to_its_attack() -> None:
    net, (x, y) = trained(), known(10)
    assert torch.equal(BPDA(ATTACK)(net, x, y, Linf(0.1)), ATTACK(net, x, y, Linf(0.1)))


def test_bpda_takes_its_hooks_away_also_after_a_failure() -> None:
    model, (x, y) = nn.Sequential(Grid(), trained()), known(5)
    before = model(x)
    BPDA(ATTACK)(model, x, y, Linf(0.2))
    with pytest.raises(AttackError, match=r"stage '0' makes .* give an approximation"):
        BPDA(ATTACK, stages=("0",))(
            nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 28, 28)), trained()), x, y, Linf(0.2)
        )
    assert torch.equal(model(x), before)
    assert all(not module._forward_hooks for module in model.modules())


def test_every_attack_uses_the_gradient_that_a_stage_declares() -> None:
    class Leaky(nn.Module):
        """Its own gradient is small and of the wrong sign."""

        input_gradient = "straight-through"

        def forward(self, x: Tensor) -> Tensor:
            return Grid()(x) + 1e-6 * (0.5 - x)

    model, (x, y) = nn.Sequential(Leaky(), trained()), known(20)
    threat = Linf(0.2)
    with true_gradient():
        assert standing(model, ATTACK(model, x, y, threat), y) >= 0.9
    assert standing(model, ATTACK(model, x, y, threat), y) <= 0.1
    assert standing(model, BPDA(ATTACK)(model, x, y, threat), y) <= 0.1
    assert all(not module._forward_hooks for module in model.modules())


class Bare(nn.Module):
    """Black or white by a bare comparison, in the forward of the whole model."""

    def __init__(self, binary: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = trained()
        self.binary = binary

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.binary(x))
        return logits


class Threshold(nn.Module):
    """A comparison in a module of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0.5).to(x.dtype)


class Numpy(nn.Module):
    """A stage that leaves torch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.round(x.detach().numpy() * 4) / 4)


@pytest.mark.parametrize(
    "defended",
    [
        Bare(lambda x: (x > 0.5).float()),
        Bare(lambda x: 1 - (x <= 0.5) * 1.0),
        Bare(lambda x: torch.where(x < 0.5, 0.0, 1.0)),
        Bare(lambda x: (~(x < 0.5)).to(x)),
        Bare(lambda x: ((x > 0.5) & (x < 2)).float()),
        Bare(lambda x: (x * 2).int().clamp(max=1) * 1.0),
        nn.Sequential(Threshold(), trained()),
        nn.Sequential(Numpy(), trained()),
    ],
    ids=["float", "le", "where", "not", "and", "int", "module", "numpy"],
)
def test_bpda_passes_bare_comparisons_and_casts(defended: nn.Module) -> None:
    x, y = known()
    assert standing(defended, x, y) >= 0.9
    threat = Linf(0.45)
    with pytest.raises(NoGradientError):
        ATTACK(defended, x, y, threat)
    x_adv = BPDA(ATTACK)(defended, x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    assert standing(defended, x_adv, y) <= 0.4


@pytest.mark.parametrize(
    ("defended", "message"),
    [
        (Bare(Numpy().forward), "the gradient ends outside of any stage"),
        (
            nn.Sequential(nn.Sequential(nn.Flatten(), Digits()), nn.Unflatten(1, (10,))),
            r"the gradient ends in stage '0.1': .* give BPDA\(..., stages=\('0.1',\), approx",
        ),
    ],
    ids=["numpy", "shapes"],
)
def test_what_bpda_cannot_pass_is_named_with_what_to_do(defended: nn.Module, message: str) -> None:
    x, y = known(3)
    with pytest.raises(AttackError, match=message):
        BPDA(ATTACK)(defended, x, y, Linf(0.1))


def test_bpda_knows_no_batch_where_samples_need_different_things() -> None:
    """Bright images go through a comparison, dark ones do not."""

    class Some(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            dark = x.mean((1, 2, 3), keepdim=True) < 0.13
            return torch.where(dark, x, (x > 0.5).float())

    model, (x, y) = nn.Sequential(Some(), trained()), known(12)
    dark = x.mean((1, 2, 3)) < 0.13
    assert 0 < int(dark.sum()) < 12
    whole = BPDA(ATTACK)(model, x, y, Linf(0.3))
    assert bool((whole != x).flatten(1).any(1).all())
    for rows in (torch.tensor([3]), torch.arange(12).flip(0)):
        part = BPDA(ATTACK)(model, x[rows], y[rows], Linf(0.3), RandomStreams(0, rows))
        assert torch.allclose(part, whole[rows], rtol=0, atol=1e-5)


def test_a_given_backward_stands_in_for_named_stages() -> None:
    """A stage that turns the image round: the identity misleads, the right stand-in does not."""

    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Numpy()(1 - x)

    class Back(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1 - x

    model, (x, y) = nn.Sequential(Turned(), Back(), trained()), known(20)
    threat = Linf(0.15)
    straight = BPDA(ATTACK)(model, x, y, threat)
    given = BPDA(ATTACK, stages=("0",), approximation=lambda x: 1 - x)(model, x, y, threat)
    assert standing(model, given, y) <= 0.2
    assert standing(model, straight, y) >= 0.8


def test_an_unknown_stage_is_refused() -> None:
    x, y = known(2)
    with pytest.raises(UsageError, match="stage 'squeeze' of a model with 0, 1"):
        BPDA(ATTACK, stages=("squeeze",))(trained(), x, y, Linf(0.1))


def test_eot_sees_through_a_random_stage() -> None:
    model, (x, y) = nn.Sequential(Shimmer(), trained()), known(20)
    threat = Linf(0.15)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = FULL(model, x, y, threat)
        averaged = EOT(FULL, 20)(model, x, y, threat)
        assert standing(model, x, y) == 1
        assert standing(model, plain, y) >= 0.9
        assert standing(model, averaged, y) <= 0.4


def test_a_random_stage_before_a_hard_one_needs_both_wrappers() -> None:
    """Noise that neither averaging nor passing the clamp alone sees through."""

    class Coarse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ((Shimmer()(x) - 0.5) * 1000 + 0.5).clamp(0, 1)

    model, (x, y) = nn.Sequential(Coarse(), trained()), known(20)
    threat = Linf(0.45)

    def left(attack: Attack) -> float:
        return standing(model, attack(model, x, y, threat), y)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert left(FULL) >= 0.9
        assert left(EOT(FULL, 5)) >= 0.9
        assert left(BPDA(EOT(FULL, 5), stages=("0",))) <= 0.4


def test_eot_repeats_itself_and_leaves_the_global_generator() -> None:
    model, (x, y) = nn.Sequential(Shimmer(), trained()), known(6)
    attack = EOT(PGD(steps=5), 3)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = attack(model, x, y, Linf(0.1))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert torch.equal(attack(model, x, y, Linf(0.1)), first)


def test_eot_alone_knows_no_batch() -> None:
    model, (x, y) = nn.Sequential(Shimmer(), trained()), known(5)
    rows = torch.tensor([3, 1])

    def both(attack: EOT, batch_size: int) -> tuple[Tensor, Tensor]:
        whole = attack(model, x, y, Linf(0.1))
        return whole[rows], attack(
            model, x[rows], y[rows], Linf(0.1), RandomStreams(0, rows), batch_size=batch_size
        )

    for attack in (PGD(steps=4), DeepFool(steps=3)):
        for batch_size in (1, 2):
            whole, part = both(EOT(attack, 2, alone=True), batch_size)
            assert torch.equal(part, whole)
    whole, part = both(EOT(PGD(steps=4, until_fooled=False), 2), 2)
    assert not torch.equal(part, whole)  # the limit that the docstring names


def test_eot_averages_for_attacks_that_look_at_several_boundaries_at_once() -> None:
    model, (x, y) = nn.Sequential(Shimmer(), trained()), known(6)
    attack = EOT(DeepFool(steps=2, rivals=3), 3)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = torch.get_rng_state()
        with counted() as passes:
            first = attack(model, x, y, Linf(0.1))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert torch.equal(attack(model, x, y, Linf(0.1)), first)
    assert passes.forward % 3 == passes.backward % 9 == 0


def test_eot_changes_nothing_on_a_model_that_is_not_random() -> None:
    net, (x, y) = trained(), known(5)
    plain = ATTACK(net, x, y, Linf(0.1))
    assert torch.allclose(EOT(ATTACK, 2)(net, x, y, Linf(0.1)), plain, rtol=0, atol=1e-6)
    alone = EOT(ATTACK, 2, alone=True)(net, x, y, Linf(0.1))
    assert torch.equal(net(alone).argmax(1), net(plain).argmax(1))


def test_eot_alone_within_an_attack_that_changes_what_is_seen_is_refused() -> None:
    x, y = known(2)
    attack = Transfer(EOT(ATTACK, 2, alone=True), trained(1), diversity=0.5)
    with pytest.raises(UsageError, match="alone = True on InputDiversityProbe: give alone = False"):
        attack(trained(), x, y, Linf(0.1))


def test_eot_costs_n_passes_for_each() -> None:
    x, y = known(6)
    with counted() as passes:
        EOT(PGD(steps=5, until_fooled=False), 3)(trained(), x, y, Linf(0.1))
    assert (passes.forward, passes.backward) == (6 * 15, 6 * 15)
    with pytest.raises(UsageError, match="eot: n = 0"):
        EOT(ATTACK, 0)


def undefeated(x_adv: Tensor, y: Tensor, threshold: float) -> float:
    """Share that the classifier gets right or the detector flags."""
    right = accurate(trained(), x_adv, y)
    return float((right | (Roughness()(x_adv) > threshold)).double().mean())


def test_a_detector_is_fooled_together_with_the_classifier() -> None:
    net, (x, y) = trained(), known()
    threshold = float(Roughness()(x).quantile(0.95)) + 0.01
    assert float((Roughness()(x) > threshold).double().mean()) < 0.05
    threat = Linf(0.3)
    joint = JointDetection(ATTACK, Roughness(), threshold, scale=30.0)
    assert undefeated(ATTACK(net, x, y, threat), y, threshold) >= 0.9
    assert undefeated(joint(net, x, y, threat), y, threshold) <= 0.1


def test_joint_detection_reaches_targets_too() -> None:
    net, (x, y) = trained(), known(20)
    threshold = float(Roughness()(x).quantile(0.95)) + 0.01
    joint = JointDetection(ATTACK, Roughness(), threshold, scale=30.0)
    x_adv = joint(net, x, y, Linf(0.3), goal=Targeted(3))
    quiet = Roughness()(x_adv) <= threshold
    assert float(((net(x_adv).argmax(1) == 3) & quiet).double().mean()) >= 0.8


def test_joint_detection_names_a_detector_that_is_none() -> None:
    x, y = known(3)
    with pytest.raises(ModelError, match=r"the detector returned \(3, 10\) for 3 images"):
        JointDetection(ATTACK, trained(), 0.5)(trained(), x, y, Linf(0.1))
    for threshold, scale in ((float("nan"), 1.0), (0.5, 0.0)):
        with pytest.raises(UsageError, match="joint: "):
            JointDetection(ATTACK, Roughness(), threshold, scale)


def test_wrappers_are_values_and_tell_what_they_add() -> None:
    assert BPDA(ATTACK).config() == {
        **ATTACK.config(),
        "bpda": {"stages": [], "approximation": None},
    }
    assert EOT(ATTACK, 10).label() == "pgd-40+eot10"
    assert EOT(ATTACK, 10, alone=True).label() == "pgd-40+eot10-alone"
    assert EOT(ATTACK, 10).config()["eot"] == {"n": 10, "alone": False}
    first, other = (JointDetection(ATTACK, Roughness(), 0.5) for _ in range(2))
    assert first == other
    assert hash(first) == hash(other)
    assert first.detector == SurrogateRef.of(Roughness())
