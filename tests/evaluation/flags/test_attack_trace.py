"""What is seen of an attack is what it saw, and changes nothing."""

import pytest
import torch
from torch import Tensor

from tempering.attacks import BPDA, EOT, FGSM, PGD, Attack, Restarts, Square, Transfer, WorstOf
from tempering.core.errors import ThreatError
from tempering.core.passes import counted
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, Linf
from tempering.evaluation.flags import ExaminedSamples, trace_attack
from tests.attacks.trained import trained
from tests.evaluation.flags.demonstrations import sliced
from tests.evaluation.toys import Net


def toy(n: int = 12, batch_size: int = 5) -> ExaminedSamples:
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net().eval()
    with torch.no_grad():
        y = model(x).argmax(1)
    return ExaminedSamples(
        model, x, y, Linf(0.1), RandomStreams(7, torch.arange(n) * 3 + 100), batch_size
    )


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=5),
        Restarts(PGD(steps=5, until_fooled=False), 2),
        WorstOf(FGSM(), PGD(steps=3)),
        BPDA(PGD(steps=4)),
        EOT(PGD(steps=3), 2),
        Square(queries=20),
    ],
    ids=lambda attack: attack.label(),
)
def test_a_watched_attack_finds_what_it_finds_alone(attack: Attack) -> None:
    part = toy()
    trace = trace_attack(part, attack)
    assert torch.equal(trace.x_adv, part.attacked(attack))
    assert torch.equal(trace.broken, part.fooled(trace.x_adv))
    assert trace.queries.min() >= 1


def test_every_look_is_noted_in_order() -> None:
    part, steps = toy(), 6
    seen: list[Tensor] = []
    for count in range(1, steps + 1):
        x_adv = part.attacked(PGD(steps=count, step_size=0.04, until_fooled=False))
        seen.append(part.odds(x_adv))
    trace = trace_attack(part, PGD(steps=steps, step_size=0.04, until_fooled=False))
    assert trace.queries.tolist() == [steps] * len(part)
    assert torch.allclose(trace.odds[:, 1:], torch.stack(seen[:-1], 1).double(), atol=1e-4)
    assert torch.allclose(trace.end, seen[-1].double(), atol=1e-4)
    assert bool((trace.best().diff(dim=1) >= 0).all())


def test_samples_that_leave_early_have_fewer_looks() -> None:
    part = toy()
    trace = trace_attack(part, PGD(steps=8))
    assert len(set(trace.queries.tolist())) > 1
    for row, looks in enumerate(trace.queries.tolist()):
        assert trace.odds[row, :looks].isfinite().all()
        assert trace.odds[row, looks:].isnan().all()
    passed = trace.visited.nonzero()[:, 0]
    assert len(passed)
    assert bool(part.at(passed).fooled(trace.x_visited[passed]).all())
    assert bool(part.threat.contains(trace.x_visited, part.x).all())


def test_watching_costs_the_attack_and_one_look_more() -> None:
    part = toy()
    with counted() as alone:
        part.attacked(PGD(steps=5))
    with counted() as watched:
        trace_attack(part, PGD(steps=5))
    assert watched.backward == alone.backward
    assert watched.forward == alone.forward + len(part)


def test_looks_at_surrogates_are_not_seen_and_unknown_threats_refused() -> None:
    part = sliced(trained(), Linf(0.1))
    trace = trace_attack(part, Transfer(PGD(steps=3), trained(1)))
    assert trace.queries.tolist() == [0] * len(part)
    assert trace.best().shape == (len(part), 0)
    with pytest.raises(ThreatError):
        trace_attack(part.under(L0(3)), PGD())
