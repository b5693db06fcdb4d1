"""Several attacks as one."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import (
    BIM,
    CWL2,
    DDN,
    FAB,
    FGSM,
    FMN,
    PGD,
    Cascade,
    NearestOf,
    Square,
    WorstOf,
)
from tempering.attacks.base import Attack, Problem
from tempering.core.errors import ThreatError, UsageError
from tempering.core.goals import Targeted
from tempering.core.passes import counted
from tempering.core.probe import Probe
from tempering.core.threats import L0, L2, Linf
from tests.attacks.trained import accurate, known, trained

THREAT = Linf(0.06)
WEAK, STRONG = FGSM(), PGD(steps=10)


def test_the_worst_of_two_breaks_what_either_breaks() -> None:
    net, (x, y) = trained(), known()
    alone = [~accurate(net, attack(net, x, y, THREAT), y) for attack in (WEAK, Square(queries=60))]
    both = ~accurate(net, WorstOf(WEAK, Square(queries=60))(net, x, y, THREAT), y)
    assert torch.equal(both, alone[0] | alone[1])
    assert bool(both.any())


def test_the_nearest_of_two_is_as_near_as_the_nearer_on_every_image() -> None:
    net, (x, y) = trained(), known(24)
    both = NearestOf(FMN(steps=8), FAB(steps=3))
    assert both.minimum_norm()
    assert not NearestOf(DDN(steps=4), PGD()).minimum_norm()
    images = [attack(net, x, y, Linf(1.0)) for attack in both.attacks]
    away = torch.stack([(image - x).abs().flatten(1).amax(1) for image in images])
    fooled = torch.stack([~accurate(net, image, y) for image in images])
    assert bool(fooled.all())
    assert len(away.argmin(0).unique()) == 2, "each is the nearer one somewhere"
    nearest = (both(net, x, y, Linf(1.0)) - x).abs().flatten(1).amax(1)
    assert torch.equal(nearest, away.amin(0))


def test_a_cascade_breaks_as_much_and_spares_what_has_fallen() -> None:
    net, (x, y) = trained(), known()
    fallen = ~accurate(net, WEAK(net, x, y, THREAT), y)
    assert 0 < int(fallen.sum()) < len(x)
    full = PGD(steps=10, until_fooled=False)
    with counted() as passes:
        x_adv = Cascade(WEAK, full)(net, x, y, THREAT)
    assert passes.backward == len(x) + 10 * int((~fallen).sum())
    assert torch.equal(x_adv[fallen], WEAK(net, x, y, THREAT)[fallen])
    assert torch.equal(x_adv[~fallen], full(net, x, y, THREAT)[~fallen])


def test_they_reach_targets() -> None:
    net, (x, y) = trained(), known(20)
    for attack in (WorstOf(WEAK, STRONG), Cascade(WEAK, STRONG)):
        x_adv = attack(net, x, y, Linf(0.3), goal=Targeted(3))
        assert bool((net(x_adv).argmax(1) == 3).all())


def test_they_draw_as_their_attacks_would_alone_and_twice_the_same_draws_anew() -> None:
    net, (x, y) = trained(), known(10)
    alone = STRONG(net, x, y, Linf(0.02))
    assert torch.equal(Cascade(STRONG)(net, x, y, Linf(0.02)), alone)
    assert not torch.equal(Cascade(STRONG, STRONG)(net, x, y, Linf(0.02)), alone)


def test_they_nest_and_describe_themselves() -> None:
    nested = WorstOf(Cascade(WEAK, BIM(steps=2)), STRONG)
    assert nested.label() == "worst-of(cascade(fgsm,bim-2),pgd-10)"
    assert nested.config()["attacks"][1] == STRONG.config()
    assert nested == WorstOf(attacks=(Cascade(WEAK, BIM(steps=2)), STRONG))
    assert WorstOf(WEAK, STRONG) != WorstOf(STRONG, WEAK)


def test_mistakes_are_named() -> None:
    net, (x, y) = trained(), known(2)
    with pytest.raises(UsageError, match="cascade of no attack"):
        Cascade()
    with pytest.raises(UsageError, match="worst-of of 3: give attacks"):
        WorstOf(3)  # type: ignore[arg-type]
    with pytest.raises(ThreatError, match="fgsm does not attack in l0"):
        Cascade(WEAK, STRONG)(net, x, y, L0(5))
    with pytest.raises(ThreatError, match="cw-l2 does not attack in linf"):
        WorstOf(WEAK, CWL2())(net, x, y, THREAT)
    assert bool(L2(1.0).contains(WorstOf(WEAK, CWL2(1, 5))(net, x, y, L2(1.0)), x).all())


@dataclass(frozen=True)
class Shifts(Attack):
    """Moves all pixels by the same step."""

    name: ClassVar[str] = "shifts"
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    source: ClassVar[str] = "nobody"

    step: float

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        return problem.x + self.step


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ((0.1, 0.2, 0.05), 0.2),  # none fools: the one that comes nearest
        ((-0.1, -0.2), 0.0),  # all lead away: the image itself
        ((0.4, 0.3), 0.4),
        ((0.3, 0.4), 0.4),  # each fools: the one that goes farther
        ((0.4, 0.2), 0.4),
        ((0.2, 0.4), 0.4),
    ],
)
def test_the_worst_of_failures_is_that_of_the_largest_margin(
    steps: tuple[float, ...], kept: float
) -> None:
    """Class 1 where the mean is above 0.75."""
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3).long()
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[0.0] * 4, [0.25] * 4]))
        net[1].bias.copy_(torch.tensor([0.0, -0.75]))
    x_adv = WorstOf(*(Shifts(step) for step in steps))(net, x, y, Linf(0.5))
    assert torch.allclose(x_adv, x + kept)
